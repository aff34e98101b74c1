use std::future::Future;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply, RecordedRequest};
use requestforge::blocking::{HttpClient, Tokens};
use requestforge::token::TokenManagerBuilder;
use requestforge::{ClientCredentialsTokenProvider, TokenManager};
use tokio::runtime::Runtime;

/// Servers on threads of their own, and a client on a thread that no runtime has entered.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: Api,
    pub(crate) manager: TokenManager,
    pub(crate) client: HttpClient,
    runtime: Runtime,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|manager| manager)
    }

    pub(crate) fn with(configure: impl FnOnce(TokenManagerBuilder) -> TokenManagerBuilder) -> Self {
        let runtime = runtime();
        let server = runtime.block_on(AuthorizationServer::start()).expect("a server");
        let api = runtime.block_on(Api::start(&server)).expect("an API");
        let manager = configure(TokenManager::builder(provider(&server))).build().expect("a manager");
        let client =
            HttpClient::builder(api.base_url()).with_token_auth(manager.clone()).build().expect("a client");
        Self { server, api, manager, client, runtime }
    }

    pub(crate) fn tokens(&self) -> Tokens<TokenManager> {
        Tokens::new(self.manager.clone())
    }

    /// Waits for a server.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

pub(crate) fn provider(server: &AuthorizationServer) -> ClientCredentialsTokenProvider {
    ClientCredentialsTokenProvider::builder(server.token_url(), server.client_id(), server.client_secret())
        .build()
        .expect("a provider")
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A server without tokens. It lives as long as the runtime.
pub(crate) fn origin(
    reply: impl Fn(&RecordedRequest) -> RawReply + Send + Sync + 'static,
) -> (Origin, Runtime) {
    let runtime = runtime();
    (runtime.block_on(Origin::start(reply)).expect("a server"), runtime)
}
