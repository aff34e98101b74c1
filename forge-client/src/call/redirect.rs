use http::header::LOCATION;
use http::{HeaderMap, Method, StatusCode};
use reqwest::Response;
use url::Url;

use super::{Call, Hop};
use crate::HttpClientError;
use crate::logging::{Logging, RequestContent};
use crate::origin::{Origin, RequestUrl, Trust};

impl Call<'_> {
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

/// The redirects that a call may still follow.
pub(crate) struct Redirects {
    left: Option<u32>,
}

impl Redirects {
    /// Follows at most this many redirects. `None`: the caller gets responses that redirect.
    pub(crate) fn with_limit(limit: Option<u32>) -> Self {
        Self { left: limit }
    }

    /// Whether the client follows redirects at all.
    pub(crate) fn is_enabled(&self) -> bool {
        self.left.is_some()
    }

    /// Turns the hop into the next one, if the response is a redirect; returns whether it is. `shown` says how
    /// errors and logs show the target.
    pub(crate) fn follow(
        &mut self,
        hop: &mut Hop<'_>,
        response: &Response,
        trust: &Trust,
        shown: impl FnOnce(&Hop<'_>, Url) -> RequestUrl,
    ) -> Result<bool, HttpClientError> {
        let Some(left) = &mut self.left else { return Ok(false) };
        let status = response.status();
        let Some(target) = target(&hop.url, response) else { return Ok(false) };
        let refuse = |why| Err(HttpClientError::redirect(why));
        if *left == 0 {
            return refuse("too many redirects");
        }
        if !matches!(target.scheme(), "http" | "https") {
            return refuse("its target is not an http URL");
        }
        if hop.url.scheme() == "https" && target.scheme() == "http" {
            return refuse("from https to http");
        }
        // Attack: the target may repeat the secrets of this hop. Order: learn them before the hop changes.
        let target = shown(hop, target);
        let keeps_method = match status {
            StatusCode::SEE_OTHER => hop.method == Method::GET || hop.method == Method::HEAD,
            // Browsers turn a POST into a GET here; RFC 9110 15.4.2 and 15.4.3 allow it for that reason.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => hop.method != Method::POST,
            _ => true,
        };
        if keeps_method {
            if !hop.body.is_empty() && !Origin::of(&hop.url).contains(&target) {
                return refuse("with a body, to another origin");
            }
            if !hop.body.can_be_sent() {
                return refuse("with a body that can be sent only once");
            }
        } else {
            hop.become_get();
        }
        *left -= 1;
        hop.move_to(target, trust);
        Ok(true)
    }
}

/// The target of a redirect; `None` if the response is no redirect. Attack: a target with user-info would make the
/// client send credentials of the server's choice, so the user-info is removed.
fn target(current: &Url, response: &Response) -> Option<Url> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?;
    let mut target = current.join(std::str::from_utf8(location.as_bytes()).ok()?).ok()?;
    let no_user_info = target.set_username("").and_then(|()| target.set_password(None));
    // This fails for URLs that cannot have user-info.
    let _ = no_user_info;
    if target.fragment().is_none() {
        target.set_fragment(current.fragment());
    }
    Some(target)
}
