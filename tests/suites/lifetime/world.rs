//! Shared helpers of this suite.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, Origin};
use requestforge::oauth2::{ClientCredentialsGrant, OAuth2TokenProvider, OAuth2TokenProviderBuilder};
use requestforge::token::{Clock, TokenManagerBuilder};
use requestforge::{ClientCredentialsTokenProvider, Credential, SecretSource, TokenManager};

pub(crate) fn provider(
    server: &AuthorizationServer,
    secret: impl Into<SecretSource>,
    clock: &Arc<impl Clock>,
) -> OAuth2TokenProvider<ClientCredentialsGrant> {
    settings(server.token_url(), server.client_id(), secret, clock).build().expect("a provider")
}

pub(crate) fn settings(
    token_url: String,
    client_id: &str,
    secret: impl Into<SecretSource>,
    clock: &Arc<impl Clock>,
) -> OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(token_url, client_id, secret)
        .service_name("test")
        .clock(Arc::clone(clock) as _)
}

/// A manager and its provider with the same clock.
pub(crate) fn builder(server: &AuthorizationServer, clock: &Arc<impl Clock>) -> TokenManagerBuilder {
    TokenManager::builder(provider(server, server.client_secret(), clock)).clock(Arc::clone(clock) as _)
}

pub(crate) fn at_origin(origin: &Origin, clock: &Arc<impl Clock>) -> TokenManager {
    let provider = settings(format!("{}/token", origin.url()), "client", "secret", clock);
    TokenManager::builder(provider.build().expect("a provider"))
        .clock(Arc::clone(clock) as _)
        .build()
        .expect("a manager")
}

/// The result of the first poll; `None` if the caller would wait.
pub(crate) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Waits for events in other tasks, however slow the machine is.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}: not after 30 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn name(token: &Credential) -> String {
    token.access_token().to_owned()
}

pub(crate) fn at_hand(manager: &TokenManager) -> Option<String> {
    manager.with_token(|token| token.access_token().to_owned())
}
