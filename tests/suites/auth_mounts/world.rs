use forge_tests::{Api, AuthorizationServer};
use requestforge::{ClientCredentialsTokenProvider, TokenAuth, TokenManager};

use crate::mount::{Answer, Failure, Mount, Request};

/// An authorization server, an API that wants its tokens, and a client that sends requests there.
pub(crate) struct World<M> {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: Api,
    pub(crate) mount: M,
}

impl<M: Mount> World<M> {
    pub(crate) async fn new() -> Self {
        Self::with(|auth| auth).await
    }

    pub(crate) async fn with(configure: impl FnOnce(TokenAuth) -> TokenAuth) -> Self {
        let server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&server).await.expect("an API");
        let mount = M::new(configure(TokenAuth::new(manager(&server))), &api.base_url()).await;
        Self { server, api, mount }
    }

    /// The same world after the client has used a token that is revoked now.
    pub(crate) async fn with_revoked_token() -> Self {
        let world = Self::new().await;
        assert!(world.get("warm-up").await.expect("an answer").status.is_success());
        world.server.revoke_all();
        world.api.clear();
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.api.base_url())
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Answer, Failure> {
        self.mount.send(Request::get(self.url("/users")).id(id)).await
    }
}

pub(crate) fn manager(server: &AuthorizationServer) -> TokenManager {
    let (id, secret) = (server.client_id(), server.client_secret());
    let provider = ClientCredentialsTokenProvider::builder(server.token_url(), id, secret).build();
    TokenManager::new(provider.expect("a provider"))
}
