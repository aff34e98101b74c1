//! What subscribers of `tracing` are told.

use std::time::Instant;

use forge_core::AuthenticationError;
use forge_token::TokenOrigin;
use tracing::{Instrument, Span};

/// Work within a span that has the fields `outcome` and `duration`.
pub(crate) async fn traced<T>(
    span: Span,
    work: impl Future<Output = Result<(T, TokenOrigin), AuthenticationError>>,
) -> Result<(T, TokenOrigin), AuthenticationError> {
    let begun = Instant::now();
    let result = work.instrument(span.clone()).await;
    let outcome = match &result {
        Ok((_, TokenOrigin::Cached)) => "cached",
        Ok((_, TokenOrigin::Joined)) => "joined",
        Ok(_) => "fetched",
        Err(_) => "failed",
    };
    span.record("outcome", outcome).record("duration", tracing::field::debug(begun.elapsed()));
    result
}
