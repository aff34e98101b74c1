//! The log while all goes well, and while it does not.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply, StatusCode};
use requestforge::testing::ManualClock;
use requestforge::token::{Clock, SystemClock};
use requestforge::{
    AuthMethod, ClientCredentialsTokenProvider, HttpClient, InMemoryTokenStorage, PasswordGrantTokenProvider,
    SecretSource, StorageError, TokenData, TokenManager, TokenStorage, async_trait,
};
use serde_json::json;

use crate::canaries::{Canaries, Canary};
use crate::http2::{Http2Server, Reply};
use crate::logs;
use crate::refusals::reqwest_over_http2;
use crate::steps;

#[derive(Clone, Copy, Debug)]
pub(crate) struct FailingStorage;

#[async_trait]
impl TokenStorage for FailingStorage {
    async fn get(&self, _: &str) -> Result<Option<TokenData>, StorageError> {
        Err(down())
    }

    async fn set(&self, _: &str, _: &TokenData) -> Result<(), StorageError> {
        Err(down())
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        Err(down())
    }

    async fn exists(&self, _: &str) -> Result<bool, StorageError> {
        Err(down())
    }
}

fn down() -> StorageError {
    StorageError::new("no route").with_source(std::io::Error::other("down"))
}

/// Runs one session after the other, with a canary in each possible place.
struct Sessions {
    authorization_server: AuthorizationServer,
    api: Api,
    query_token: String,
    canaries: Canaries,
}

impl Sessions {
    async fn start() -> Self {
        let authorization_server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&authorization_server).await.expect("a server");
        let query_token = Canary::secret("token in a query");
        let (text, canaries) = (
            query_token.to_string(),
            [
                Canary::of("client secret", authorization_server.client_secret()),
                Canary::of("password", authorization_server.password()),
                query_token,
            ],
        );
        Self { authorization_server, api, query_token: text, canaries: Canaries::new(canaries) }
    }

    fn client(&self, method: AuthMethod) -> ClientCredentialsTokenProvider {
        self.client_at(Arc::new(SystemClock), method)
    }

    fn client_at(&self, clock: Arc<dyn Clock>, method: AuthMethod) -> ClientCredentialsTokenProvider {
        let server = &self.authorization_server;
        ClientCredentialsTokenProvider::builder(
            server.token_url(),
            server.client_id(),
            server.client_secret(),
        )
        .auth_method(method)
        .clock(clock)
        .build()
        .expect("a provider")
    }

    fn http(&self, manager: &TokenManager) -> HttpClient {
        HttpClient::builder(self.api.base_url()).with_token_auth(manager.clone()).build().expect("a client")
    }

    /// Adds a token that no output may show from now on.
    async fn hide_tokens_of(&mut self, manager: &TokenManager) {
        let credential = manager.get_token().await.expect("a token");
        self.canaries.add(Canary::of("access token", credential.access_token()));
        if let Some(token) = credential.token().refresh_token() {
            self.canaries.add(Canary::of("refresh token", token));
        }
    }

    async fn get(&self, client: &HttpClient, path: &str) {
        let request = client.get(path).query(&[("token", &self.query_token)]);
        assert!(request.send().await.expect("an answer").is_success());
    }

    /// Fetches by all methods and grants; a rejected token, and its renewal and replay.
    async fn fetch_and_renew(&mut self) {
        let server = &self.authorization_server;
        let password = PasswordGrantTokenProvider::builder(
            server.token_url(),
            server.client_id(),
            server.client_secret(),
            server.username(),
            server.password(),
        );
        let managers = [
            TokenManager::new(self.client(AuthMethod::Body)),
            TokenManager::new(self.client(AuthMethod::Header)),
            TokenManager::new(password.build().expect("a provider")),
        ];
        for manager in managers {
            self.hide_tokens_of(&manager).await;
            let client = self.http(&manager);
            self.get(&client, "/users").await;
            self.authorization_server.revoke_all();
            self.get(&client, "/users").await;
            self.hide_tokens_of(&manager).await;
            let posted = client.post("/users").json(&json!({ "token": self.query_token }));
            assert!(posted.send().await.expect("an answer").is_success());
            manager.invalidate_token().await.expect("no storage");
            manager.warm_up(Duration::from_secs(5)).await.expect("a token");
            self.hide_tokens_of(&manager).await;
            assert!(manager.shutdown(Duration::from_secs(5)).await);
        }
        assert!(self.api.rejected() >= 3, "tokens were rejected");
    }

    /// Refreshes over a shared storage, by time and by rejection, with rotation and without.
    async fn refresh(&mut self) {
        self.authorization_server.set_refresh_tokens(true);
        let clock = Arc::new(ManualClock::new());
        let manager = TokenManager::builder(self.client_at(clock.clone(), AuthMethod::Header))
            .storage(InMemoryTokenStorage::builder().clock(clock.clone()).build())
            .on_refresh_token(|_| async {})
            .clock(clock.clone())
            .build()
            .expect("a manager");
        let client = self.http(&manager);
        for _ in 0..3 {
            self.hide_tokens_of(&manager).await;
            clock.advance(Duration::from_secs(3600));
            self.get(&client, "/users").await;
            self.hide_tokens_of(&manager).await;
            self.authorization_server.revoke_all();
            self.get(&client, "/users").await;
        }
        assert!(self.authorization_server.calls_by_grant("refresh_token") >= 3, "tokens were refreshed");
        // A dead refresh token: the manager uses the full grant.
        self.hide_tokens_of(&manager).await;
        self.authorization_server.revoke_refresh_tokens();
        clock.advance(Duration::from_secs(3600));
        self.get(&client, "/users").await;
        self.hide_tokens_of(&manager).await;
        self.authorization_server.set_refresh_tokens(false);
    }

    async fn redirects(&mut self) {
        let manager = TokenManager::new(self.client(AuthMethod::Body));
        self.hide_tokens_of(&manager).await;
        let client = self.http(&manager);
        let foreign = Origin::start(|_| RawReply::ok("foreign")).await.expect("a server");
        let query = serde_urlencoded::to_string([("code", &self.query_token)]).expect("a query");
        for target in [format!("/users?{query}"), format!("{}/x?{query}", foreign.url())] {
            let redirect = client.get("/redirect").query(&[("to", &target)]);
            assert!(redirect.send().await.expect("an answer").is_success());
        }
        client
            .get("/redirect")
            .query(&[("to", format!("ftp://x/?{query}"))])
            .send()
            .await
            .expect_err("refused");
        assert_eq!(foreign.requests().len(), 1);
    }

    async fn failures(&mut self) {
        let manager = TokenManager::builder(self.client(AuthMethod::Body))
            .storage(FailingStorage)
            .build()
            .expect("a manager");
        self.hide_tokens_of(&manager).await;
        self.get(&self.http(&manager), "/users").await;
        manager.invalidate_token().await.expect_err("the storage fails");

        self.authorization_server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
        manager.force_refresh().await.expect_err("a 503");
        self.authorization_server.set_failing(None);

        // A server that echoes the whole request, with a rotating secret so that each way to a token fails.
        let echo = Origin::start(|request| {
            let all = String::from_utf8_lossy(&request.bytes).into_owned();
            let answer = json!({ "error": "invalid_grant", "error_description": all });
            RawReply::status(400).with_header("x-echo", "x").with_body(answer.to_string())
        })
        .await
        .expect("a server");
        for method in [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw] {
            let secret = Canary::secret("secret that is echoed");
            let text = secret.to_string();
            self.canaries.add(secret);
            let source = SecretSource::from_fn(move || {
                let text = text.clone();
                async move { Ok::<_, StorageError>(text.into()) }
            });
            let url = format!("{}/token", echo.url());
            let provider = ClientCredentialsTokenProvider::builder(url, "id", source).auth_method(method);
            let refreshable = Canary::token("refresh token that is echoed");
            let storage = InMemoryTokenStorage::new();
            let manager = TokenManager::builder(provider.build().expect("a provider"));
            let manager = manager.storage(storage.clone()).build().expect("a manager");
            let old = TokenData::new("old").with_expires_at(chrono::DateTime::UNIX_EPOCH);
            let old = old.with_refresh_token(refreshable.text());
            self.canaries.add(refreshable);
            storage.set(manager.cache_key(), &old).await.expect("a storage");
            manager.get_token().await.expect_err("refused");
            manager.get_token().await.expect_err("a cool-down");
            let client = HttpClient::builder(self.api.base_url()).with_token_auth(manager);
            client.build().expect("a client").get("/users").send().await.expect_err("no token");
        }
        assert!(echo.requests().len() >= 6, "refreshes and full grants were tried");

        let nobody = ClientCredentialsTokenProvider::builder(
            "http://127.0.0.1:1/token",
            "id",
            self.authorization_server.client_secret(),
        );
        TokenManager::new(nobody.build().expect("a provider"))
            .get_token()
            .await
            .expect_err("nobody is there");
    }

    /// HTTP/2 has log lines of its own.
    async fn http2(&mut self) {
        let tokens = [Canary::token("first token, HTTP/2"), Canary::token("second token, HTTP/2")];
        let texts = tokens.each_ref().map(ToString::to_string);
        for token in tokens {
            self.canaries.add(token);
        }
        let issuer = Http2Server::start({
            let texts = texts.clone();
            move |call| {
                let body = json!({ "access_token": texts[call % 2], "expires_in": 3600 }).to_string();
                Reply::Answer {
                    status: 200,
                    headers: vec![("content-type", "application/json".to_owned())],
                    body,
                }
            }
        })
        .await;
        let api = Http2Server::start(move |call| {
            let echo = format!("Bearer error=\"invalid_token\", error_description=\"{}\"", texts[0]);
            let headers = vec![("www-authenticate", echo.clone()), ("set-cookie", texts[1].clone())];
            Reply::Answer { status: if call == 0 { 401 } else { 200 }, headers, body: echo }
        })
        .await;
        let secret = self.authorization_server.client_secret();
        let provider = ClientCredentialsTokenProvider::builder(issuer.url(), "id", secret)
            .auth_method(AuthMethod::Header)
            .http(reqwest_over_http2);
        let manager = TokenManager::new(provider.build().expect("a provider"));
        let client = HttpClient::builder(api.url()).with_token_auth(manager).with_http(reqwest_over_http2);
        let client = client.build().expect("a client");
        let request = client.post("/x").query(&[("token", &self.query_token)]).body(self.query_token.clone());
        let response = request.send().await.expect("an answer");
        assert!(response.is_success(), "after a renewal");
        response.text().await.expect("a body");
    }
}

/// The log of this process at all levels during all of this: our lines, and those of our dependencies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_nothing_is_logged_at_any_level() {
    logs::keep();
    let mut sessions = Sessions::start().await;
    sessions.fetch_and_renew().await;
    sessions.refresh().await;
    sessions.redirects().await;
    sessions.failures().await;
    sessions.http2().await;
    steps::session(&mut sessions.canaries).await;

    let lines = logs::lines();
    for target in ["forge_token", "forge_client", "hyper_util", "h2"] {
        assert!(lines.iter().any(|line| line.target.starts_with(target)), "{target} logs nothing any more");
    }
    let is_logged = |text: &str| lines.iter().any(|line| line.text.contains(text));
    for text in ["a new token", "replaying", "falling back", "going on without", "could not be stored"] {
        assert!(is_logged(text), "what logs {text:?} did not happen");
    }
    for span in ["token_pipeline", "token_step"] {
        assert!(lines.iter().any(|line| line.text.starts_with(span)), "no span {span}");
    }
    for outcome in ["cached", "fetched", "failed"] {
        assert!(is_logged(&format!("outcome={outcome}")), "no step was {outcome}");
    }
    let mut canaries = sessions.canaries;
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// `h2` logs the last words of a server (RFC 9113 6.8): `h2::codec::framed_read` at `DEBUG`, `h2::proto` at
/// `TRACE`. We cannot mask these lines. This test checks that no other crate logs them.
#[tokio::test]
async fn inv16_we_do_not_log_the_last_words_of_a_connection() {
    logs::keep();
    let canary = Canary::secret("client secret");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let echo = text.clone();
    let server = Http2Server::start(move |_| Reply::GoAway(echo.clone())).await;
    let provider = ClientCredentialsTokenProvider::builder(server.url(), "id", text).http(reqwest_over_http2);
    let storage = InMemoryTokenStorage::new();
    let manager = TokenManager::builder(provider.build().expect("a provider"))
        .storage(storage.clone())
        .build()
        .expect("a manager");
    let old = TokenData::new("old").with_expires_at(chrono::DateTime::UNIX_EPOCH).with_refresh_token("r");
    storage.set(manager.cache_key(), &old).await.expect("a storage");
    manager.get_token().await.expect_err("a cut connection");
    manager.warm_up(Duration::from_millis(50)).await.expect_err("a cool-down");
    let client =
        HttpClient::builder("http://127.0.0.1:1").with_token_auth(manager).build().expect("a client");
    client.get("/").send().await.expect_err("no token");

    let is_theirs = |line: &logs::Line| line.target.starts_with("h2::");
    assert!(logs::lines().iter().any(|line| is_theirs(line) && line.text.contains("debug_data")));
    logs::look_at(&mut canaries, |line| !is_theirs(line));
    canaries.end();
}
