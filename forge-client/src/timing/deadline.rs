use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::Either;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// What comes of this by then. What is there at once comes also when it is late.
// An `async fn` would hold the future twice.
pub(crate) fn within<F: Future>(
    deadline: Option<Instant>,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    match deadline {
        None => Either::Left(future.map(Ok)),
        Some(deadline) => Either::Right(Box::pin(timeout_at(deadline, future))),
    }
}
