//! Retries: which outcomes of a request are worth another attempt, and after which delay.
//!
//! [`with_retry`](crate::HttpClientConfigBuilder::with_retry) is enough for most clients. A strategy of your own
//! decides about each [`RetryOutcome`]; the client still repeats only requests that may be repeated, within its
//! budget.
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
