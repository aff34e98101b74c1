use std::future::Future;

use futures_util::FutureExt;
use futures_util::future::Either;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Awaits a future until the deadline. A future that is ready at once wins, also after the deadline.
// Speed: not an `async fn`, which would hold the future twice.
pub(crate) fn within<F: Future>(
    deadline: Option<Instant>,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    match deadline {
        None => Either::Left(future.map(Ok)),
        Some(deadline) => Either::Right(Box::pin(timeout_at(deadline, future))),
    }
}
