//! A small axum service whose handlers share one client of an API. It keeps tokens in the process or, with
//! `--redis-url`, in Redis. It has retries, a circuit breaker, logging and a health route.
//!
//! ```sh
//! cargo run -p forge-examples --bin axum_service -- --demo
//! cargo run -p forge-examples --bin axum_service -- --help
//! curl http://127.0.0.1:8080/users/7
//! ```
//!
//! This file is the service. `demo.rs` checks its promises against servers that count.

mod demo;
#[path = "../../quickstart/timeline.rs"]
mod timeline;

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use clap::Parser;
use requestforge::client::HttpClientBuilder;
use requestforge::{
    CircuitBreaker, ClientCredentialsTokenProvider, CorrelationId, HttpClient, HttpClientError, Logging,
    SecretSource, TokenAuth, TokenManager,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Serves GET /users/{id} and GET /health. It gets the users from an API that requires a token.
#[derive(Parser)]
#[command(bin_name = "cargo run -p forge-examples --bin axum_service --", after_help = AFTER_HELP)]
struct Options {
    /// Start test servers on this machine, and check with them that the service keeps its promises
    #[arg(long, conflicts_with_all = ["listen", "api_url", "token_url", "client_id"])]
    demo: bool,
    /// The address on which the service listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The base URL of the API
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "demo",
        default_value = "",
        hide_default_value = true
    )]
    api_url: String,
    /// The token endpoint of its authorization server: https, or http on this machine
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "demo",
        default_value = "",
        hide_default_value = true
    )]
    token_url: String,
    /// The service's client id at the authorization server
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "demo",
        default_value = "",
        hide_default_value = true
    )]
    client_id: String,
    /// Share tokens with other processes through this Redis: redis://[user:password@]host[:port][/database].
    /// Put a URL with a password into the environment variable
    #[arg(
        long,
        value_name = "URL",
        env = "REQUESTFORGE_REDIS_URL",
        hide_env_values = true,
        conflicts_with = "demo"
    )]
    redis_url: Option<String>,
}

const AFTER_HELP: &str = "The client secret comes from the environment variable REQUESTFORGE_CLIENT_SECRET.";

/// The state that all handlers share. A clone is cheap, because clones of the fields are.
#[derive(Clone)]
struct Service {
    api: HttpClient,
    api_url: String,
    tokens: TokenManager,
    breaker: CircuitBreaker,
}

impl Service {
    fn new(api_url: String, tokens: TokenManager) -> Result<Self, HttpClientError> {
        Self::with(api_url, tokens, |settings| settings)
    }

    /// As `new`, with additional settings of the client.
    fn with(
        api_url: String,
        tokens: TokenManager,
        more: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder,
    ) -> Result<Self, HttpClientError> {
        let breaker = CircuitBreaker::new();
        let settings = HttpClient::builder(&api_url)
            .with_token_auth(TokenAuth::new(tokens.clone()).excluded_paths(["/health"]))
            .with_timeout(Duration::from_secs(5))
            .with_total_timeout(Duration::from_secs(20))
            .with_retry(3)
            .with_circuit_breaker(breaker.clone())
            .with_request_hook(CorrelationId::new())
            .with_logging(Logging::new());
        Ok(Self { api: more(settings).build()?, api_url, tokens, breaker })
    }

    fn router(self) -> Router {
        Router::new().route("/users/{id}", get(user)).route("/health", get(health)).with_state(self)
    }
}

/// Returns a user as the API describes it.
async fn user(
    State(service): State<Service>,
    Path(id): Path<u64>,
    headers: HeaderMap,
) -> Result<Json<Value>, Failure> {
    let mut request = service.api.get(format!("/users/{id}"));
    // The client passes on the caller's correlation id. If there is none, it makes one up.
    if let Some(correlation_id) = headers.get("x-correlation-id") {
        request = request.header("X-Correlation-ID", correlation_id.clone());
    }
    let response = request.send().await?.error_for_status()?;
    Ok(Json(response.json().await?))
}

/// Reports the state of the service. It sends no request, so it also answers when the API does not.
async fn health(State(service): State<Service>) -> Json<Value> {
    let circuit = service.breaker.state(&service.api_url).map(|state| state.to_string());
    let token = service.tokens.status();
    Json(json!({
        "circuit": circuit.unwrap_or_else(|error| error.to_string()),
        "has_token": token.has_token,
        "token_error": token.last_error.map(|error| error.to_string()),
    }))
}

/// A failed call of the API, as this service's callers see it.
struct Failure(HttpClientError);

impl From<HttpClientError> for Failure {
    fn from(error: HttpClientError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = self.0;
        // The log line names no secret. Only the log has the details: the service's callers need not know
        // which API it calls.
        tracing::warn!(error = &error as &dyn Error, "no answer for a caller");
        if let Some(open) = error.circuit_open() {
            let seconds = open.time_left().map_or(1, |left| left.as_secs() + 1);
            return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, seconds.to_string())]).into_response();
        }
        let status = match error.status_code() {
            Some(StatusCode::NOT_FOUND) => StatusCode::NOT_FOUND,
            _ if error.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        status.into_response()
    }
}

/// Serves until the process is told to stop. Then it finishes the requests under way.
async fn serve(
    listener: TcpListener,
    service: Service,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, service.router()).with_graceful_shutdown(stop).await
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = if options.demo { demo::run().await } else { run(options).await.map(|()| true) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprintln!("  caused by: {error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).init();
    let tokens = tokens(&options)?;
    let service = Service::new(options.api_url, tokens)?;
    let listener = TcpListener::bind(options.listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, service, told_to_stop()).await?;
    println!("stopped");
    Ok(())
}

fn tokens(options: &Options) -> Result<TokenManager, Box<dyn Error>> {
    let secret = SecretSource::env("REQUESTFORGE_CLIENT_SECRET");
    let provider = ClientCredentialsTokenProvider::builder(&options.token_url, &options.client_id, secret)
        .service_name("users-api")
        .build()?;
    let manager = TokenManager::builder(provider);
    if let Some(url) = &options.redis_url {
        let storage = requestforge::RedisTokenStorage::builder(url).key_prefix("axum_service").build()?;
        return Ok(manager.storage(storage).build()?);
    }
    Ok(manager.build()?)
}

/// Returns on Ctrl-C, or when the system asks the process to end.
async fn told_to_stop() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminated = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        () = interrupted => {}
        () = terminated => {}
    }
}
