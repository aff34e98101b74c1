//! The secrets that the hops of a call carried. Attack: the target of a redirect may repeat them.

use http::HeaderMap;

use super::Call;
use crate::auth::AuthSession;
use crate::logging::Secrets;

/// The secrets of a call so far. Empty until the first redirect, which most calls do not meet.
#[derive(Default)]
pub(super) struct CarriedSecrets {
    /// The headers of the last attempt, if hooks took part in them; else [`Call::follow_redirect`] builds them again.
    pub(super) sent: Option<Box<HeaderMap>>,
    /// The secrets of the hops before this one.
    pub(super) secrets: Option<Box<Secrets>>,
}

impl CarriedSecrets {
    /// The secrets of earlier hops.
    pub(super) fn earlier(&self) -> Option<&Secrets> {
        self.secrets.as_deref()
    }
}

impl Call<'_> {
    /// Keeps the headers of an attempt, if the client follows redirects and hooks took part in the headers: a
    /// second call of a hook may set others.
    pub(super) fn remember_headers(&mut self, headers: &HeaderMap) {
        let is_altered = !self.client.settings.hooks.request.is_empty()
            || self.auth.as_ref().is_some_and(AuthSession::has_hook);
        if is_altered && self.redirects.is_enabled() {
            self.carried.sent = Some(Box::new(headers.clone()));
        }
    }
}
