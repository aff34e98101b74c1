use std::future::Future;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// What comes of this by then. What is there at once comes also when it is late.
pub(crate) async fn within<T>(
    deadline: Option<Instant>,
    future: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match deadline {
        None => Ok(future.await),
        Some(deadline) => timeout_at(deadline, future).await,
    }
}
