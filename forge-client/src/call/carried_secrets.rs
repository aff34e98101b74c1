//! The secrets that the hops of a call carried. Attack: the target of a redirect may repeat them.

use http::HeaderMap;
use reqwest::Response;
use url::Url;

use super::Call;
use super::Hop;
use crate::HttpClientError;
use crate::auth::AuthSession;
use crate::logging::{Logging, RequestContent, Secrets};
use crate::origin::RequestUrl;

/// The secrets of a call so far. Empty until the first redirect, which most calls do not meet.
#[derive(Default)]
pub(super) struct CarriedSecrets {
    /// The headers of the last attempt, if hooks took part in them; else [`Call::follow_redirect`] builds them again.
    sent: Option<Box<HeaderMap>>,
    /// The secrets of the hops before this one.
    secrets: Option<Box<Secrets>>,
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

    /// Turns the hop into the next one, if the response is a redirect; returns whether it is.
    pub(super) fn follow_redirect(&mut self, response: &Response) -> Result<bool, HttpClientError> {
        let Self { redirects, hop, carried, client, auth, .. } = self;
        let trust = &client.settings.trust;
        let shown = |hop: &Hop<'_>, target: Url| -> RequestUrl {
            let headers = carried.sent.take().map_or_else(
                || {
                    let mut headers = HeaderMap::clone(&hop.headers);
                    if let (Some(auth), true) = (auth, hop.is_trusted()) {
                        auth.add_sent(&hop.auth_request(), &mut headers);
                    }
                    headers
                },
                |sent| *sent,
            );
            let content = RequestContent { url: &hop.url, headers: &headers, body: hop.body.content() };
            let names = client.settings.logging.as_ref().map_or_else(|| [].into(), Logging::more_names);
            carried.secrets.get_or_insert_default().mask_redirect_target(&content, target, trust, names)
        };
        redirects.follow(hop, response, trust, shown)
    }
}
