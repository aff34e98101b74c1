use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

pub(crate) struct CaughtPanic;

/// Turns a panic into an error. After a panic the caller must drop the future, and must not rely on state that the
/// future was changing.
pub(crate) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, CaughtPanic> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_payload) => Poll::Ready(Err(CaughtPanic)),
    })
    .await
}
