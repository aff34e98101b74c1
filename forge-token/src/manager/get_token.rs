use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use forge_core::{AuthenticationError, Credential};

use super::{TokenManager, TokenResult};

/// The future of a caller. Written by hand, so that a hit is inlined into the caller, and the future is no larger for
/// the work of a miss.
pub(super) struct GetToken<'a> {
    manager: &'a TokenManager,
    /// After a miss.
    slow_path: Option<SlowPath<'a>>,
}

type SlowPath<'a> = Pin<Box<dyn Future<Output = TokenResult> + Send + 'a>>;

impl<'a> GetToken<'a> {
    #[inline]
    pub(super) fn new(manager: &'a TokenManager) -> Self {
        Self { manager, slow_path: None }
    }
}

impl Future for GetToken<'_> {
    type Output = Result<Arc<Credential>, AuthenticationError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.slow_path.is_none()
            && let Some(hit) = self.manager.look(|entry| Arc::clone(entry.credential()))
        {
            return Poll::Ready(Ok(hit));
        }
        self.poll_slow_path(context)
    }
}

impl GetToken<'_> {
    #[cold]
    fn poll_slow_path(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Arc<Credential>, AuthenticationError>> {
        let manager = self.manager;
        let slow_path = self.slow_path.get_or_insert_with(|| Box::pin(manager.get_token_slow()));
        slow_path.as_mut().poll(context).map_ok(|(credential, _)| credential)
    }
}
