//! Checks the promises of this library against the counts of servers on this machine.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply};
use requestforge::client::HttpClientBuilder;
use requestforge::reqwest::ClientBuilder;
use requestforge::{
    ClientCredentialsTokenProvider, ConfigError, HttpClient, HttpClientError, TokenAuth, TokenManager,
};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::chain::Chain;
use crate::timeline::{Timeline, say};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CROWD: usize = 1000;
const TOKEN_CALL: Duration = Duration::from_millis(400);
const API_ANSWER: Duration = Duration::from_millis(50);

/// Returns whether all promises were kept.
pub(super) async fn run() -> Outcome<bool> {
    say("Real requests over real sockets, on this machine only. It is the servers that count.\n");
    let mut stage = Stage::set().await?;
    stage.cold_start().await?;
    stage.revocation().await?;
    stage.excluded_paths().await?;
    stage.redirect().await?;
    stage.wrong_secret().await?;
    Ok(stage.timeline.end())
}

struct Stage {
    timeline: Timeline,
    authorization_server: AuthorizationServer,
    api: Api,
    elsewhere: Origin,
    manager: TokenManager,
    client: HttpClient,
    crowd_client: HttpClient,
}

/// The code that your service would contain.
fn manager_of(server: &AuthorizationServer, client_secret: &str) -> Result<TokenManager, ConfigError> {
    let provider =
        ClientCredentialsTokenProvider::builder(server.token_url(), server.client_id(), client_secret)
            .service_name("example-api")
            .build()?;
    Ok(TokenManager::new(provider))
}

fn client_of(api: &Api, manager: &TokenManager) -> HttpClientBuilder {
    let auth = TokenAuth::new(manager.clone());
    let auth = auth.excluded_paths(["/health"]).excluded_path_patterns(["/public/*"]);
    // Requests to the loopback address must not go through the proxy that HTTP_PROXY may name.
    HttpClient::builder(api.base_url()).with_token_auth(auth).with_http(ClientBuilder::no_proxy)
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let timeline = Timeline::start();
        let authorization_server = AuthorizationServer::start().await?;
        authorization_server.set_delay(TOKEN_CALL);
        let api = Api::start(&authorization_server).await?;
        api.set_delay(API_ANSWER);
        let elsewhere = Origin::start(|_| RawReply::ok("hello from elsewhere")).await?;
        timeline.tell(format!("authorization server: {}", authorization_server.token_url()));
        timeline.tell(format!("API:                  {}", api.base_url()));
        timeline.tell(format!("another origin:       {}", elsewhere.url()));

        // Two clients with one manager share its token.
        let manager = manager_of(&authorization_server, authorization_server.client_secret())?;
        let client = client_of(&api, &manager).build()?;
        // Over HTTP/2 a thousand requests share a connection. With a connection each, they and the API would
        // need 2000 sockets in this process. Many systems allow 1024, or 256.
        let crowd_client =
            client_of(&api, &manager).with_http(|http| http.no_proxy().http2_prior_knowledge()).build()?;
        Ok(Self { timeline, authorization_server, api, elsewhere, manager, client, crowd_client })
    }

    async fn cold_start(&mut self) -> Outcome<()> {
        self.timeline.chapter("Cold start: a thousand requests at once, and no token yet");
        let crowd = self.crowd("cold").await;
        sleep(TOKEN_CALL / 2).await;
        let server = &self.authorization_server;
        let counts = (server.token_calls(), server.tokens_issued(), self.api.requests());
        let waiting = if counts == (1, 0, 0) { "; all wait for one token" } else { "" };
        let (calls, issued, requests) = counts;
        self.timeline.tell(format!(
            "token calls so far: {calls}, tokens issued: {issued}, requests at the API: {requests}{waiting}"
        ));
        let answered = self.answered(crowd).await?;

        let (calls, accepted) = (self.authorization_server.token_calls(), self.api.accepted());
        self.timeline.promise(calls == 1, format!("exactly 1 token call (counted: {calls})"));
        self.timeline.promise(
            (answered, accepted, self.api.requests()) == (CROWD, CROWD, CROWD),
            format!("every request answered with success (accepted by the API: {accepted})"),
        );
        Ok(())
    }

    async fn revocation(&mut self) -> Outcome<()> {
        self.timeline.chapter("Revocation: a thousand more, and in mid-flight their token is revoked");
        let calls_before = self.begin();
        let crowd = self.crowd("revoked").await;
        until(|| self.api.accepted() >= CROWD / 4).await;
        self.authorization_server.revoke_all();
        let accepted = self.api.accepted();
        self.timeline.tell(format!("revoked; the API had accepted {accepted} by then"));
        let answered = self.answered(crowd).await?;

        let renewals = self.authorization_server.token_calls() - calls_before;
        let (rejected, accepted) = (self.api.rejected(), self.api.accepted());
        let most_sends = self.api.max_sends_per_request();
        self.timeline.promise(
            renewals == 1 && rejected > 0,
            format!("exactly 1 renewal (counted: {renewals}) for {rejected} requests answered with 401"),
        );
        self.timeline.promise(
            (answered, accepted) == (CROWD, CROWD),
            format!("every request answered with success (accepted by the API: {accepted})"),
        );
        self.timeline
            .promise(most_sends == 2, format!("no request sent more than twice (most often: {most_sends})"));
        Ok(())
    }

    async fn excluded_paths(&mut self) -> Outcome<()> {
        self.timeline.chapter("Excluded paths: /health and /public/*, with a token at hand");
        self.begin();
        let excluded = ["/health", "/public/logo.png", "/public/docs/intro"];
        for path in excluded {
            self.client.get(path).send().await?;
        }
        // This path is not one of the exclusions, so the API requires a token here.
        self.client.get("/healthy").send().await?;
        self.timeline.tell(format!("GET {}, and /healthy", excluded.join(", ")));

        let (open, with_token) = (self.api.open_requests(), self.api.open_requests_with_credentials());
        self.timeline.promise(
            (open, with_token) == (excluded.len(), 0),
            format!("excluded paths went without a token ({open} came, {with_token} with one)"),
        );
        let accepted = self.api.accepted();
        self.timeline.promise(
            accepted == 1,
            format!("/healthy, which is none of them, with a token (accepted: {accepted})"),
        );
        Ok(())
    }

    async fn redirect(&mut self) -> Outcome<()> {
        self.timeline.chapter("Redirect: the API sends us to another origin");
        self.begin();
        let to = format!("{}/landing", self.elsewhere.url());
        let response = self.client.get("/redirect").query(&[("to", &to)]).send().await?;
        let greeting = response.text().await?;
        let accepted = self.api.accepted();
        self.timeline
            .tell(format!("the API accepted {accepted} request; then, from the other origin: {greeting}"));

        let token = self.manager.get_token().await?;
        let recorded = self.elsewhere.requests();
        for request in &recorded {
            self.timeline
                .tell(format!("the other origin recorded {} bytes: {request:?}", request.bytes.len()));
        }
        let is_clean = recorded.iter().all(|request| {
            request.header("authorization").is_none() && !request.contains(token.access_token())
        });
        self.timeline.promise(
            (accepted, recorded.len(), is_clean) == (1, 1, true),
            "no credential reached the other origin (no Authorization, the token in none of its bytes)",
        );
        Ok(())
    }

    async fn wrong_secret(&mut self) -> Outcome<()> {
        self.timeline.chapter("Wrong secret: no token, so no request");
        let calls_before = self.begin();
        let manager = manager_of(&self.authorization_server, "not-the-secret")?;
        let error = client_of(&self.api, &manager).build()?.get("/users").send().await.err();
        if let Some(error) = &error {
            self.timeline.tell(format!("error: {}", Chain(error)));
        }

        let (calls, requests) = (self.authorization_server.token_calls() - calls_before, self.api.requests());
        self.timeline.promise(
            error.is_some_and(|error| error.is_authentication()) && (calls, requests) == (1, 0),
            format!(
                "the error says so, and the API got no request (token calls: {calls}, requests: {requests})"
            ),
        );
        Ok(())
    }

    /// Makes the API forget its requests, and returns the number of token calls so far.
    fn begin(&self) -> usize {
        self.api.clear();
        self.authorization_server.token_calls()
    }

    /// Starts a thousand requests at the same moment, each in a task of its own. Each has a name, by which
    /// the API counts how often it arrives.
    async fn crowd(&self, name: &str) -> JoinSet<Result<(), HttpClientError>> {
        let start = Arc::new(Barrier::new(CROWD + 1));
        let mut crowd = JoinSet::new();
        for number in 0..CROWD {
            let request = self.crowd_client.get(format!("/users/{number}"));
            let request = request.header("x-request-id", format!("{name}-{number}"));
            let start = Arc::clone(&start);
            crowd.spawn(async move {
                start.wait().await;
                request.send().await?.error_for_status()?.text().await.map(drop)
            });
        }
        start.wait().await;
        self.timeline.tell(format!("{CROWD} requests begun at once; over HTTP/2 they share a connection"));
        crowd
    }

    /// Returns how many requests succeeded. Prints the reason if one did not.
    async fn answered(&self, mut crowd: JoinSet<Result<(), HttpClientError>>) -> Outcome<usize> {
        let (mut answered, mut first_error) = (0, None);
        while let Some(outcome) = crowd.join_next().await {
            match outcome? {
                Ok(()) => answered += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.timeline.tell(format!("{answered} have their answer"));
        if let Some(error) = first_error {
            self.timeline.tell(format!("one of the others: {}", Chain(&error)));
        }
        Ok(answered)
    }
}

/// Returns when the condition holds, or after ten seconds. In that case a promise fails later.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(Duration::from_secs(10), waiting).await;
}
