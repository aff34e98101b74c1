//! Retries: which outcomes of a request are worth another attempt, and after which delay.
//!
//! [`with_retry`](crate::HttpClientConfigBuilder::with_retry) is enough for most clients: it retries connection errors,
//! time-outs and the statuses 408, 429, 500, 502, 503 and 504, with exponential back-off and jitter. A strategy of your
//! own decides about each [`RetryOutcome`]. These rules hold for every strategy:
//!
//! - The client repeats only idempotent requests, requests with an `Idempotency-Key`, and requests that the caller says
//!   may be repeated. It never repeats a body that can be sent once only.
//! - Retries draw from a budget: in any stretch of time at most 100, and a fifth of the calls.
//! - If the token source has no token and backs off from a failing token endpoint, the call waits for that, up to 60 s
//!   (`with_max_cool_down`). Then it asks for a token again, which counts as a retry.
//! - The client heeds `Retry-After`, and begins no attempt for which the deadline or the breaker leaves no room.
//!
#![cfg_attr(
    feature = "client",
    doc = r#"
```
use std::time::Duration;
use requestforge::HttpClient;
use requestforge::retry::{RetryOutcome, RetryStrategy};

/// Retries an overloaded server twice.
#[derive(Debug)]
struct Overload;

impl RetryStrategy for Overload {
    fn delay_before_retry(&self, retry: u32, outcome: &RetryOutcome<'_>) -> Option<Duration> {
        let RetryOutcome::Response(response) = outcome else { return None };
        (retry <= 2 && response.status_code() == 503).then_some(Duration::from_secs(1))
    }
}

let client = HttpClient::builder("https://api.example.com").with_retry_strategy(Overload).build()?;
# Ok::<_, requestforge::HttpClientError>(())
```
"#
)]

pub use forge_core::retry_after;

#[cfg(feature = "client")]
pub use forge_client::{RetryOutcome, RetryStrategy, RetryableError};
