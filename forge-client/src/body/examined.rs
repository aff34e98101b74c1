use std::fmt;

use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

/// The maximum length in bytes of a body that a strategy sees.
pub(crate) const MAX_EXAMINED: usize = 64 * 1024;

/// A response as a strategy sees it. The caller can still read a body that the strategy has seen.
#[derive(Clone, Copy)]
pub struct ExaminedResponse<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> ExaminedResponse<'a> {
    /// A response without its body, for the loop that drives an [`AuthSession`](crate::AuthSession).
    #[must_use]
    pub fn new(status: StatusCode, headers: &'a HeaderMap) -> Self {
        Self { status, headers, body: None }
    }

    /// The same response with its whole body.
    #[must_use]
    pub fn with_body(mut self, body: &'a [u8]) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn of(response: &'a reqwest::Response, body: Option<&'a [u8]>) -> Self {
        Self { status: response.status(), headers: response.headers(), body }
    }

    /// The status.
    #[must_use]
    pub fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The body as JSON. `None` if it is not such JSON, did not arrive whole, is larger than 64 KiB, or if no
    /// strategy asked for it (`reads_body`).
    #[must_use]
    pub fn json_or_none<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.body?).ok()
    }
}

impl fmt::Debug for ExaminedResponse<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExaminedResponse").field("status", &self.status).finish_non_exhaustive()
    }
}
