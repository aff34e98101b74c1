//! A token endpoint that every peer can talk to: it answers each POST with a token, for any path and any
//! body.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::Failure;

/// Dropping this ends the server.
pub struct TokenServer {
    address: SocketAddr,
    shared: Arc<SharedState>,
    task: JoinHandle<()>,
}

struct SharedState {
    delay: Duration,
    lifetime: Duration,
    failing: AtomicBool,
    calls: AtomicU64,
}

impl TokenServer {
    /// Starts the server on a free port. Each call takes `delay`, and the tokens have the stated lifetime
    /// `lifetime`.
    pub async fn start(servers: &Handle, delay: Duration, lifetime: Duration) -> Result<Self, Failure> {
        let failing = AtomicBool::new(false);
        let shared = Arc::new(SharedState { delay, lifetime, failing, calls: AtomicU64::new(0) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let start = async move {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            let task = tokio::spawn(async move {
                // `serve` ends only with the task.
                let _ = axum::serve(listener, router).await;
            });
            Ok::<_, std::io::Error>((address, task))
        };
        let started = servers.spawn(start).await?;
        let (address, task) = started.map_err(|error| format!("the token server does not start: {error}"))?;
        Ok(Self { address, shared, task })
    }

    /// The server's URL, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on, calls fail: after the delay, with status 500.
    pub fn fail(&self) {
        self.shared.failing.store(true, Ordering::SeqCst);
    }

    /// The number of calls that have arrived.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<SharedState>>) -> Response {
    let number = shared.calls.fetch_add(1, Ordering::SeqCst);
    tokio::time::sleep(shared.delay).await;
    if shared.failing.load(Ordering::SeqCst) {
        let failure = json!({ "error": "server_error", "error_description": "it is down" });
        return (http::StatusCode::INTERNAL_SERVER_ERROR, Json(failure)).into_response();
    }
    // The token is as long as many real ones.
    let token = format!("{number:040}");
    let answer = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": shared.lifetime.as_secs(),
        "scope": "read",
    });
    Json(answer).into_response()
}
