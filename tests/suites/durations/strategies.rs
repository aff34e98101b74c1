//! The delays of strategies. The client waits even for one that is as good as for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::auth::AuthRetryStrategy;
use requestforge::retry::RetryStrategy;
use requestforge::{
    ExponentialAuthRetryStrategy, ExponentialBackoffRetryStrategy, HttpClient, SimpleAuthRetryStrategy,
    SimpleRetryStrategy, TokenAuth, TokenData, token_source_fn,
};

use crate::extremes::{EXTREMES, LEAST, used};
use crate::setting::used_for_a_while;

/// A server that answers the first of every two requests with this status, and the second well.
async fn every_other(status: u16) -> Origin {
    let requests = AtomicUsize::new(0);
    let reply = move |_: &_| match requests.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => RawReply::status(status),
        _ => RawReply::ok("well"),
    };
    Origin::start(reply).await.expect("a server")
}

async fn retried(case: &str, value: Duration, strategy: impl RetryStrategy + 'static) {
    let origin = every_other(503).await;
    let client = HttpClient::builder(origin.url()).with_retry_strategy(strategy).build().expect("a client");
    sent(case, value, client).await;
}

async fn replayed(case: &str, value: Duration, strategy: impl AuthRetryStrategy + 'static) {
    let origin = every_other(401).await;
    let tokens = std::sync::Arc::new(AtomicUsize::new(0));
    let source = token_source_fn(move || {
        let token = tokens.fetch_add(1, Ordering::SeqCst);
        async move { Ok(TokenData::new(format!("t{token}"))) }
    });
    let auth = TokenAuth::new(source).auth_retry_strategy(strategy);
    let client = HttpClient::builder(origin.url()).with_token_auth(auth).build().expect("a client");
    sent(case, value, client).await;
}

async fn sent(case: &str, value: Duration, client: HttpClient) {
    if value <= LEAST {
        let response = used(case, client.get("/").send()).await.expect("an answer");
        assert!(response.is_success(), "{case}");
        return;
    }
    let waits = used_for_a_while(case, client.get("/").send()).await;
    assert!(waits.is_none(), "{case}: {waits:?}");
    // If the total time-out leaves no time for the delay, the client does not begin it.
    let bounded = client.get("/").total_timeout(Duration::from_secs(30));
    used(case, bounded.send()).await.expect("the first answer or the second");
}

#[tokio::test]
async fn every_delay_of_a_strategy_takes_zero_the_least_and_the_most() {
    for value in EXTREMES {
        let case = |name: &str| format!("{name}: {value:?}");
        retried(&case("delay"), value, SimpleRetryStrategy::new().delay(value)).await;
        replayed(&case("auth delay"), value, SimpleAuthRetryStrategy::new().delay(value)).await;
        for jitter in [false, true] {
            let strategy = ExponentialBackoffRetryStrategy::new().jitter(jitter);
            let strategy = strategy.base_delay(value).max_delay(value).multiplier(f64::MAX);
            retried(&case("base_delay and max_delay"), value, strategy).await;
            let strategy = ExponentialAuthRetryStrategy::new().jitter(jitter);
            let strategy = strategy.base_delay(value).max_delay(value).multiplier(f64::MAX);
            replayed(&case("auth base_delay and max_delay"), value, strategy).await;
        }
    }
}
