use http::{HeaderMap, Method};
use url::Url;

use super::AuthRequest;

/// A request before it is authenticated, whoever sends it.
#[derive(Clone, Copy)]
pub(crate) struct BareRequest<'a> {
    pub(crate) method: &'a Method,
    pub(crate) url: &'a Url,
    /// The URL as errors and `Debug` show it.
    pub(crate) shown_url: &'a str,
    /// The path as it is sent. Not the URL's where whoever sends does not normalise it.
    pub(crate) path: &'a str,
    /// Headers that stay as they are: the caller's.
    pub(crate) own: &'a HeaderMap,
    /// Empty where there is none, `None` where it is a stream.
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> BareRequest<'a> {
    /// As a hook sees it, with the headers that it has by now.
    pub(crate) fn with<'b>(&self, headers: &'b HeaderMap) -> AuthRequest<'b>
    where
        'a: 'b,
    {
        let Self { method, url, shown_url, path, body, .. } = *self;
        AuthRequest { method, url, shown_url, path, headers, body }
    }
}
