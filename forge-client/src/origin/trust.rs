use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::public_headers::{is_harmless, is_public};
use super::target::Origin;

/// The origins that may see credentials, and the headers that count as credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// The origin of the base URL, and the credential origins.
    pub(crate) origins: Vec<Origin>,
    /// The headers of the client's authentication.
    pub(crate) sensitive_names: Vec<HeaderName>,
    /// The headers that a setting or a request hook names as public.
    pub(crate) public_names: Vec<HeaderName>,
}

impl Trust {
    pub(crate) fn trusts(&self, url: &Url) -> bool {
        self.origins.iter().any(|origin| origin.contains(url))
    }

    /// Whether a header may go to an origin that must not see the client's credentials.
    pub(crate) fn is_public(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        !self.is_sensitive(name, value) && (is_public(name) || self.public_names.contains(name))
    }

    /// Whether a log shows the value of a header.
    pub(crate) fn is_shown(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        self.is_public(name, value) || (is_harmless(name) && !self.is_sensitive(name, value))
    }

    fn is_sensitive(&self, name: &HeaderName, value: &HeaderValue) -> bool {
        value.is_sensitive() || self.sensitive_names.contains(name)
    }

    /// Removes all headers that are not public.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        let is_public =
            |name: &HeaderName| headers.get_all(name).iter().all(|value| self.is_public(name, value));
        let stripped: Vec<HeaderName> = headers.keys().filter(|name| !is_public(name)).cloned().collect();
        for name in stripped {
            headers.remove(name);
        }
    }
}
