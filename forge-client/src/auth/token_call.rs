//! The two calls of a token source that an [`AuthSession`](super::AuthSession) asks its loop to make.

use std::fmt;
use std::sync::Arc;

use forge_core::{AuthenticationError, Credential, TokenSource};
use futures_util::future::BoxFuture;

/// The fetch of a token that a request lacks: see
/// [`AuthSession::add_credentials`](super::AuthSession::add_credentials).
#[must_use = "the request has no token until the fetch has run"]
pub struct TokenFetch<'a> {
    source: &'a dyn TokenSource,
    /// Whether the token must be a new one, whatever the source has cached.
    is_forced: bool,
}

/// The renewal of a rejected token: see [`AuthSession::renewal`](super::AuthSession::renewal).
#[must_use = "the token is not renewed until the renewal has run"]
pub struct TokenRenewal<'a> {
    source: &'a dyn TokenSource,
    rejected: &'a Credential,
}

impl<'a> TokenFetch<'a> {
    pub(super) fn new(source: &'a dyn TokenSource, is_forced: bool) -> Self {
        Self { source, is_forced }
    }

    /// Fetches the token: [`TokenSource::get_token`], or [`TokenSource::force_refresh`] for a request that wants a
    /// new one.
    ///
    /// # Errors
    ///
    /// The source got no token. The request must not be sent.
    pub fn run(self) -> BoxFuture<'a, Result<Arc<Credential>, AuthenticationError>> {
        if self.is_forced { self.source.force_refresh() } else { self.source.get_token() }
    }
}

impl<'a> TokenRenewal<'a> {
    pub(super) fn new(source: &'a dyn TokenSource, rejected: &'a Credential) -> Self {
        Self { source, rejected }
    }

    /// Renews the token: [`TokenSource::refresh_rejected`]. All calls whose token was rejected share one renewal.
    ///
    /// # Errors
    ///
    /// The renewal failed. It may run once more.
    pub fn run(self) -> BoxFuture<'a, Result<Option<Arc<Credential>>, AuthenticationError>> {
        self.source.refresh_rejected(self.rejected)
    }
}

impl fmt::Debug for TokenFetch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFetch").field("is_forced", &self.is_forced).finish_non_exhaustive()
    }
}

impl fmt::Debug for TokenRenewal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRenewal").finish_non_exhaustive()
    }
}
