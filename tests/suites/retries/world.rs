use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::client::HttpClientBuilder;
use requestforge::{HttpClient, SimpleRetryStrategy};

/// A server that answers every request in this way.
pub(crate) async fn always(reply: RawReply) -> Origin {
    Origin::start(move |_| reply.clone()).await.expect("a server")
}

/// A server that answers in these ways, one after the other, and then well.
pub(crate) async fn in_turn(replies: impl Into<Vec<RawReply>>) -> Origin {
    let replies: Vec<RawReply> = replies.into();
    let next = AtomicUsize::new(0);
    let reply = move |_: &_| {
        let next = next.fetch_add(1, Ordering::SeqCst);
        replies.get(next).cloned().unwrap_or_else(|| RawReply::ok("well"))
    };
    Origin::start(reply).await.expect("a server")
}

/// Up to 3 retries, almost without a delay.
pub(crate) fn client(origin: &Origin) -> HttpClient {
    build(retrying(origin))
}

pub(crate) fn retrying(origin: &Origin) -> HttpClientBuilder {
    HttpClient::builder(origin.url()).with_retry_strategy(quickly())
}

pub(crate) fn quickly() -> SimpleRetryStrategy {
    SimpleRetryStrategy::new().delay(Duration::from_millis(1))
}

pub(crate) fn build(builder: HttpClientBuilder) -> HttpClient {
    builder.build().expect("a client")
}

/// A limit far above any time that a test needs.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("an end")
}

/// The values that a closure saw, for a strategy that reports them.
#[derive(Clone, Default)]
pub(crate) struct LeaseRead<T>(Arc<std::sync::Mutex<Vec<T>>>);

impl<T: Clone> LeaseRead<T> {
    pub(crate) fn push(&self, item: T) {
        self.0.lock().expect("no panic").push(item);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.0.lock().expect("no panic").clone()
    }
}
