use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use forge_tests::{AuthorizationServer, Origin, RawReply};
use requestforge::oauth2::HttpTransport;
use requestforge::token::{CachingProvider, TokenManagerBuilder};
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, ClientCredentialsTokenProvider, HttpClient,
    InMemoryTokenStorage, TokenData, TokenManager, TokenProvider, async_trait,
};

use crate::extremes::{EXTREMES, LEAST, used};
use crate::setting::{Setting, used_for_a_while};

type Setter = fn(TokenManagerBuilder, Duration) -> TokenManagerBuilder;

const SETTINGS: [(&str, Setter, Setting); 5] = [
    ("fetch_timeout", TokenManagerBuilder::fetch_timeout, Setting::Positive("fetch_timeout")),
    ("advisory_window", TokenManagerBuilder::advisory_window, Setting::Any),
    ("mandatory_window", TokenManagerBuilder::mandatory_window, Setting::Any),
    ("max_retry_after", TokenManagerBuilder::max_retry_after, Setting::Any),
    (
        "on_refresh_token_timeout",
        TokenManagerBuilder::on_refresh_token_timeout,
        Setting::Positive("on_refresh_token_timeout"),
    ),
];

fn provider(server: &AuthorizationServer) -> ClientCredentialsTokenProvider {
    let (id, secret) = (server.client_id(), server.client_secret());
    ClientCredentialsTokenProvider::builder(server.token_url(), id, secret).build().expect("a provider")
}

/// Calls every operation of a manager. Returns an error if it got no token.
async fn all_of(manager: &TokenManager) -> Result<(), AuthenticationError> {
    let token = manager.get_token().await?;
    manager.refresh_rejected(&token).await?;
    manager.force_refresh().await?;
    let _ = (manager.cached(), manager.next_renewal_in());
    manager.get_token().await?;
    manager.invalidate_token().await?;
    manager.get_token().await.map(drop)
}

#[tokio::test]
async fn every_setting_of_a_manager_takes_zero_the_least_and_the_most() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    for (name, set, setting) in SETTINGS {
        for value in EXTREMES {
            for is_stored in [false, true] {
                let case = format!("{name}: {value:?}, stored: {is_stored}");
                let mut builder = TokenManager::builder(provider(&server)).on_refresh_token(|_| async {});
                if is_stored {
                    builder = builder.storage(InMemoryTokenStorage::new());
                }
                let built = set(builder, value).build();
                let Some(manager) = setting.built(&case, value, built) else { continue };
                let outcome = used(&case, all_of(&manager)).await;
                let has_no_time = name == "fetch_timeout" && value == LEAST;
                match outcome {
                    Ok(()) => {}
                    Err(error) => assert!(has_no_time && error.is_timeout(), "{case}: {error:?}"),
                }
                assert!(manager.status().has_token || has_no_time, "{case}");

                // The server is down, first while a token is cached, then while none is.
                server.set_failing(Some(forge_tests::StatusCode::SERVICE_UNAVAILABLE));
                server.set_retry_after(Some(1));
                let _ = used(&case, manager.force_refresh()).await;
                let _ = used(&case, manager.invalidate_token()).await;
                used(&case, manager.get_token()).await.expect_err("it is down");
                server.set_failing(None);
                server.set_retry_after(None);
            }
        }
    }
}

#[tokio::test]
async fn warming_up_and_shutting_down_take_zero_the_least_and_the_most() {
    for value in EXTREMES {
        let case = format!("{value:?}");
        let server = AuthorizationServer::start().await.expect("a server");
        let manager = TokenManager::new(provider(&server));
        let warm = used(&case, manager.warm_up(value)).await;
        assert!(warm.is_ok() || value <= LEAST, "{case}: {warm:?}");
        // Shut down while a fetch is under way.
        server.set_delay(Duration::from_millis(50));
        let _ =
            used_for_a_while(&case, async { tokio::join!(manager.force_refresh(), manager.shutdown(value)) })
                .await;
        assert!(used(&case, manager.shutdown(value)).await, "{case}");
    }
}

/// A provider that returns one duration wherever it can: as a lifetime, a cool-down, a `Retry-After`, a longest
/// fetch.
struct ExtremeProvider {
    value: Duration,
    fails: AtomicBool,
}

#[async_trait]
impl TokenProvider for ExtremeProvider {
    fn service_name(&self) -> &'static str {
        "extreme"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        if self.fails.swap(true, Ordering::SeqCst) {
            let error = AuthenticationError::new("", AuthenticationErrorKind::Connect);
            return Err(error.with_retry_after(self.value).with_cool_down(self.value));
        }
        Ok(TokenData::new("t").with_expires_in(self.value))
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        Some(self)
    }
}

impl CachingProvider for ExtremeProvider {
    fn max_fetch_duration(&self) -> Option<Duration> {
        Some(self.value)
    }
}

#[tokio::test]
async fn a_manager_takes_every_duration_of_a_provider() {
    let api = Origin::start(|_| RawReply::ok("well")).await.expect("a server");
    for value in EXTREMES {
        for setting in [None, Some(value)] {
            let case = format!("{value:?}, max_retry_after: {setting:?}");
            let provider = Arc::new(ExtremeProvider { value, fails: AtomicBool::new(false) });
            let builder = TokenManager::builder(provider).storage(InMemoryTokenStorage::new());
            let builder = setting.into_iter().fold(builder, TokenManagerBuilder::max_retry_after);
            let manager = builder.build().expect("a manager");
            let _ = used(&case, manager.get_token()).await;
            let _ = used(&case, manager.force_refresh()).await;
            let _ = used(&case, all_of(&manager)).await;
            let _ = manager.status();
            let client = HttpClient::builder(api.url()).with_retry(1).with_max_cool_down(value);
            let client = client.with_token_auth(manager).build().expect("a client");
            used_for_a_while(&case, client.get("/").send()).await;
        }
    }
}

#[tokio::test]
async fn a_transport_takes_zero_the_least_and_the_most() {
    let server = AuthorizationServer::start().await.expect("a server");
    for value in EXTREMES {
        let case = format!("{value:?}");
        let transport =
            HttpTransport::with(move |http| http.timeout(value.max(LEAST)).connect_timeout(value.max(LEAST)));
        let (id, secret) = (server.client_id(), server.client_secret());
        let provider = ClientCredentialsTokenProvider::builder(server.token_url(), id, secret);
        let manager = TokenManager::new(provider.transport(transport).build().expect("a provider"));
        let outcome = used(&case, all_of(&manager)).await;
        assert!(outcome.is_ok() || value <= LEAST, "{case}: {outcome:?}");
    }
}
