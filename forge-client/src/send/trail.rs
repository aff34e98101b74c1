//! What the hops of a call have carried: a redirect may repeat it.

use http::HeaderMap;
use reqwest::Response;
use url::Url;

use super::Call;
use crate::HttpClientError;
use crate::auth::CallAuth;
use crate::hop::Hop;
use crate::logging::{Carried, Logging, Secrets};
use crate::target::RequestUrl;

/// Most calls meet no redirect, and this stays empty.
#[derive(Default)]
pub(super) struct Trail {
    /// The headers of the last attempt, where they cannot be told afterwards.
    sent: Option<Box<HeaderMap>>,
    /// What the hops before this one have carried.
    secrets: Option<Box<Secrets>>,
}

impl Trail {
    /// The secrets of earlier hops.
    pub(super) fn earlier(&self) -> Option<&Secrets> {
        self.secrets.as_deref()
    }
}

impl Call<'_> {
    /// Keeps what an attempt carries, if it can be redirected and hooks have a part in its headers: those may
    /// set other ones when asked again.
    pub(super) fn keep(&mut self, headers: &HeaderMap) {
        let is_altered =
            !self.client.hooks.request.is_empty() || self.auth.as_ref().is_some_and(CallAuth::has_hook);
        if is_altered && self.redirects.are_followed() {
            self.trail.sent = Some(Box::new(headers.clone()));
        }
    }

    /// Turns the hop into the one that the answer asks for. Returns whether it does.
    pub(super) fn redirect(&mut self, response: &Response) -> Result<bool, HttpClientError> {
        let Self { redirects, hop, trail, client, auth, .. } = self;
        let trust = &client.trust;
        let shown = |hop: &Hop<'_>, target: Url| -> RequestUrl {
            let headers = trail.sent.take().map_or_else(
                || {
                    let mut headers = HeaderMap::clone(&hop.headers);
                    if let (Some(auth), true) = (auth, hop.is_trusted()) {
                        auth.add_sent(&hop.bare(), &mut headers);
                    }
                    headers
                },
                |sent| *sent,
            );
            let carried = Carried { url: &hop.url, headers: &headers, body: hop.body.carried() };
            let names = client.logging.as_ref().map_or_else(|| [].into(), Logging::more_names);
            trail.secrets.get_or_insert_default().redirect(&carried, target, trust, names)
        };
        redirects.follow(hop, response, trust, shown)
    }
}
