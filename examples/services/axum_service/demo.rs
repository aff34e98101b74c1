//! Runs the service between servers on this machine, and checks its promises against their counts.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_tests::{AuthorizationServer, Origin, RawReply, RecordedRequest};
use requestforge::reqwest::ClientBuilder;
use requestforge::{
    ClientCredentialsTokenProvider, ExponentialBackoffRetryStrategy, HttpClient, TokenManager,
};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::Service;
use crate::timeline::{Timeline, say};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CROWD: usize = 100;

/// Returns whether the service kept all promises.
pub(super) async fn run() -> Outcome<bool> {
    say("A service of axum and an API, on this machine only. It is the servers that count.\n");
    let log = Log::default();
    let written = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || written.clone()).init();

    let mut stage = Stage::set(log).await?;
    stage.crowd().await?;
    stage.correlation().await?;
    stage.revocation().await?;
    stage.outage().await?;
    stage.logs().await?;
    stage.shutdown().await?;
    Ok(stage.timeline.end())
}

struct Stage {
    timeline: Timeline,
    authorization_server: Arc<AuthorizationServer>,
    api: Arc<UsersApi>,
    tokens: TokenManager,
    log: Log,
    /// A caller of the service.
    caller: HttpClient,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<io::Result<()>>,
}

impl Stage {
    async fn set(log: Log) -> Outcome<Self> {
        let timeline = Timeline::start();
        let authorization_server = Arc::new(AuthorizationServer::start().await?);
        let api = UsersApi::start(Arc::clone(&authorization_server)).await?;

        let provider = ClientCredentialsTokenProvider::builder(
            authorization_server.token_url(),
            authorization_server.client_id(),
            authorization_server.client_secret(),
        );
        let tokens = TokenManager::new(provider.service_name("users-api").build()?);
        let quick = ExponentialBackoffRetryStrategy::new().base_delay(Duration::from_millis(20));
        let service = Service::with(api.origin.url(), tokens.clone(), |settings| {
            // Requests to the loopback address must not go through the proxy that HTTP_PROXY may name.
            settings.with_retry_strategy(quick).with_http(ClientBuilder::no_proxy)
        })?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}");
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(crate::serve(listener, service, async move { _ = stopped.await }));

        timeline.tell(format!("authorization server: {}", authorization_server.token_url()));
        timeline.tell(format!("API:                  {}", api.origin.url()));
        timeline.tell(format!("service:              {url}"));
        let caller = HttpClient::builder(url).with_http(ClientBuilder::no_proxy).build()?;
        let stop = Some(stop);
        Ok(Self { timeline, authorization_server, api, tokens, log, caller, address, stop, serving })
    }

    async fn crowd(&mut self) -> Outcome<()> {
        self.timeline.chapter("A hundred callers at once, and no token yet");
        let mut crowd = JoinSet::new();
        for id in 0..CROWD {
            let request = self.caller.get(format!("/users/{id}"));
            crowd.spawn(async move { request.send().await?.error_for_status()?.json::<Value>().await });
        }
        let mut served = 0;
        while let Some(user) = crowd.join_next().await {
            served += usize::from(user??["name"].is_string());
        }
        let (calls, requests) = (self.authorization_server.token_calls(), self.api.requests().len());
        self.timeline.promise(served == CROWD, format!("all are served (counted: {served})"));
        self.timeline.promise(
            (calls, requests) == (1, CROWD),
            format!("with 1 token call, and a request to the API for each (counted: {calls}, {requests})"),
        );
        Ok(())
    }

    async fn correlation(&mut self) -> Outcome<()> {
        self.timeline.chapter("The API stumbles, twice");
        self.begin();
        self.api.failures_to_come.store(2, Ordering::SeqCst);
        let response = self.caller.get("/users/7").header("X-Correlation-ID", "c0ffee").send().await?;
        let seen = self.api.requests();
        let with_id = seen.iter().filter(|sent| sent.header("x-correlation-id").as_deref() == Some("c0ffee"));
        let (with_id, sent) = (with_id.count(), seen.len());
        self.timeline.promise(
            response.is_success() && sent == 3,
            format!("the service tries again, and its caller has an answer (requests at the API: {sent})"),
        );
        self.timeline.promise(
            with_id == 3,
            format!("each attempt carries the correlation id of the service's caller (counted: {with_id})"),
        );
        Ok(())
    }

    async fn revocation(&mut self) -> Outcome<()> {
        self.timeline.chapter("The token is revoked");
        self.begin();
        let calls_before = self.authorization_server.token_calls();
        self.authorization_server.revoke_all();
        let response = self.caller.get("/users/7").send().await?;
        let (calls, sent) =
            (self.authorization_server.token_calls() - calls_before, self.api.requests().len());
        self.timeline.promise(
            response.is_success() && (calls, sent) == (1, 2),
            format!("one renewal, one replay, and the caller knows nothing of it (counted: {calls}, {sent})"),
        );
        Ok(())
    }

    async fn outage(&mut self) -> Outcome<()> {
        self.timeline.chapter("The API is down");
        self.begin();
        self.api.is_down.store(true, Ordering::SeqCst);
        let mut statuses = Vec::new();
        for _ in 0..20 {
            statuses.push(self.caller.get("/users/7").send().await?.status_code().as_u16());
        }
        let sent = self.api.requests().len();
        self.timeline.tell(format!("the service answered {statuses:?}"));
        self.timeline.promise(
            sent == 5,
            format!("after 5 failures nothing more is sent, for half a minute (requests at the API: {sent})"),
        );
        let last = self.caller.get("/users/7").send().await?;
        let is_told = last.status_code() == 503 && last.headers().contains_key("retry-after");
        self.timeline.promise(is_told, "callers are told at once: 503, and when to come back");
        let health: Value = self.caller.get("/health").send().await?.error_for_status()?.json().await?;
        self.timeline.promise(health["circuit"] == "open", format!("the health route says so: {health}"));
        Ok(())
    }

    async fn logs(&mut self) -> Outcome<()> {
        self.timeline.chapter("What was logged");
        let lines = self.log.lines();
        let of_attempts = lines.iter().filter(|line| line.contains("forge_client::logging")).count();
        if let Some(line) = lines.iter().find(|line| line.contains("c0ffee")) {
            self.timeline.tell(line);
        }
        let sent = self.api.sent.load(Ordering::SeqCst);
        self.timeline.promise(
            of_attempts == sent,
            format!("a line for each of {sent} requests (counted: {of_attempts})"),
        );
        let token = self.tokens.get_token().await?;
        let secrets = [token.access_token(), self.authorization_server.client_secret()];
        let is_silent = lines.iter().all(|line| secrets.iter().all(|secret| !line.contains(secret)));
        self.timeline.promise(is_silent, format!("and no secret in any of {} lines", lines.len()));
        Ok(())
    }

    async fn shutdown(&mut self) -> Outcome<()> {
        self.timeline.chapter("The service is told to stop");
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let ended = tokio::time::timeout(Duration::from_secs(30), &mut self.serving).await;
        let is_over = matches!(ended, Ok(Ok(Ok(()))));
        self.timeline.promise(is_over, "it ends, and reports no error");
        let is_gone = TcpStream::connect(self.address).await.is_err();
        self.timeline.promise(is_gone, "nobody listens there any more");
        Ok(())
    }

    fn begin(&self) {
        self.api.origin.clear();
    }
}

/// An API that requires a token, and fails when told to.
struct UsersApi {
    origin: Origin,
    failures_to_come: Arc<AtomicUsize>,
    is_down: Arc<AtomicBool>,
    /// The number of requests in the whole run.
    sent: Arc<AtomicUsize>,
}

impl UsersApi {
    async fn start(authorization_server: Arc<AuthorizationServer>) -> Outcome<Arc<Self>> {
        let (failures_to_come, is_down, sent) = (Arc::default(), Arc::default(), Arc::default());
        let api = Arc::new(Self {
            origin: Origin::start(|_| RawReply::status(500)).await?,
            failures_to_come: Arc::clone(&failures_to_come),
            is_down: Arc::clone(&is_down),
            sent: Arc::clone(&sent),
        });
        api.origin.set_reply(move |request| {
            sent.fetch_add(1, Ordering::SeqCst);
            let fails =
                failures_to_come.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |failures: usize| {
                    failures.checked_sub(1)
                });
            if is_down.load(Ordering::SeqCst) || fails.is_ok() {
                return RawReply::status(503);
            }
            let authorization = request.header("authorization").unwrap_or_default();
            let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
            if !authorization_server.is_valid(token) {
                return RawReply::status(401)
                    .with_header("www-authenticate", "Bearer error=\"invalid_token\"");
            }
            RawReply::ok(r#"{"name":"Ada"}"#).with_header("content-type", "application/json")
        });
        Ok(api)
    }

    /// The requests since the API last forgot them.
    fn requests(&self) -> Vec<RecordedRequest> {
        self.origin.requests()
    }
}

/// Everything that this process logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).lines().map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
