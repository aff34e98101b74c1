//! What subscribers of `tracing` are told.

use std::sync::Arc;
use std::time::Instant;

use forge_core::{AuthenticationError, Credential};
use forge_token::TokenProvenance;
use tracing::{Instrument, Span};

/// A token, and where it came from.
pub(crate) type Obtained = (Arc<Credential>, TokenProvenance);

/// Work within a span that has the fields `outcome` and `duration`.
pub(crate) async fn traced<T: Outcome>(
    span: Span,
    work: impl Future<Output = Result<T, AuthenticationError>>,
) -> Result<T, AuthenticationError> {
    let begun = Instant::now();
    let result = work.instrument(span.clone()).await;
    let outcome = result.as_ref().map_or("failed", Outcome::word);
    span.record("outcome", outcome).record("duration", tracing::field::debug(begun.elapsed()));
    result
}

/// What came of work that did not fail, in a word.
pub(crate) trait Outcome {
    fn word(&self) -> &'static str;
}

impl Outcome for Obtained {
    fn word(&self) -> &'static str {
        match self.1 {
            TokenProvenance::Cached => "cached",
            TokenProvenance::Joined => "joined",
            _ => "fetched",
        }
    }
}

impl Outcome for Option<Obtained> {
    fn word(&self) -> &'static str {
        self.as_ref().map_or("none", Outcome::word)
    }
}
