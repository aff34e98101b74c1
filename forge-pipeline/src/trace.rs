//! The spans that subscribers of `tracing` receive.

use std::sync::Arc;
use std::time::Instant;

use forge_core::{AuthenticationError, Credential};
use forge_token::TokenProvenance;
use tracing::{Instrument, Span};

/// A token, and whether it was cached, joined or fetched.
pub(crate) type ObtainedToken = (Arc<Credential>, TokenProvenance);

/// Does the work within a span, and records its fields `outcome` and `duration`.
pub(crate) async fn traced<T: TraceOutcome>(
    span: Span,
    work: impl Future<Output = Result<T, AuthenticationError>>,
) -> Result<T, AuthenticationError> {
    let started_at = Instant::now();
    let result = work.instrument(span.clone()).await;
    let outcome = result.as_ref().map_or("failed", TraceOutcome::label);
    span.record("outcome", outcome).record("duration", tracing::field::debug(started_at.elapsed()));
    result
}

/// The field `outcome` of work that succeeded.
pub(crate) trait TraceOutcome {
    fn label(&self) -> &'static str;
}

impl TraceOutcome for ObtainedToken {
    fn label(&self) -> &'static str {
        match self.1 {
            TokenProvenance::Cached => "cached",
            TokenProvenance::Joined => "joined",
            _ => "fetched",
        }
    }
}

impl TraceOutcome for Option<ObtainedToken> {
    fn label(&self) -> &'static str {
        self.as_ref().map_or("none", TraceOutcome::label)
    }
}
