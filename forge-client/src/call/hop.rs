use std::borrow::Cow;

use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, Method};

use crate::auth::AuthRequest;
use crate::body::RequestBody;
use crate::origin::{Origin, RequestUrl, Trust};

/// One request of a call: the first, or what a redirect made of it.
pub(crate) struct Hop<'a> {
    pub(crate) method: Method,
    pub(crate) url: RequestUrl,
    /// Without what the client's own authentication adds. Often just the client's default headers.
    pub(crate) headers: Cow<'a, HeaderMap>,
    pub(crate) body: RequestBody,
    /// Whether this hop and all before it are at an origin that may see the client's credentials. Once it is
    /// false, it stays false: the client does not restore the headers that it has stripped.
    trusted: bool,
}

impl<'a> Hop<'a> {
    /// The first hop. An origin that is not trusted gets only the public ones of the client's default headers. The
    /// request's own headers go to any origin: the caller chose the URL.
    pub(crate) fn first(
        method: Method,
        url: RequestUrl,
        defaults: &'a HeaderMap,
        own: HeaderMap,
        body: RequestBody,
        trust: &Trust,
    ) -> Self {
        let trusted = trust.trusts(&url);
        let mut headers = Cow::Borrowed(defaults);
        if !trusted {
            trust.strip(headers.to_mut());
        }
        if !own.is_empty() {
            replace(headers.to_mut(), own);
        }
        Self { method, url, headers, body, trusted }
    }

    /// The hop as authentication sees it.
    pub(crate) fn auth_request(&self) -> AuthRequest<'_> {
        AuthRequest {
            method: &self.method,
            url: &self.url,
            shown_url: self.url.shown(),
            path: self.url.path(),
            headers: &self.headers,
            body: if self.body.is_empty() { Some(&[]) } else { self.body.bytes() },
        }
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted
    }

    /// Turns this hop into the one to another URL.
    pub(crate) fn move_to(&mut self, url: RequestUrl, trust: &Trust) {
        let was_trusted = self.trusted;
        let stays = Origin::of(&self.url).contains(&url);
        self.trusted = was_trusted && trust.trusts(&url);
        if !stays {
            self.headers.to_mut().remove(HOST);
        }
        if !(stays || self.trusted) {
            trust.strip(self.headers.to_mut());
        }
        self.url = url;
    }

    /// Turns this hop into a GET without a body (RFC 9110 15.4.2 to 15.4.4).
    pub(crate) fn become_get(&mut self) {
        self.method = Method::GET;
        self.body = RequestBody::Empty;
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION] {
            self.headers.to_mut().remove(name);
        }
    }
}

/// Puts `own` over `headers`, name by name, keeping several values of one name.
fn replace(headers: &mut HeaderMap, own: HeaderMap) {
    // A usual case, which costs nothing.
    if headers.is_empty() {
        *headers = own;
        return;
    }
    for name in own.keys() {
        headers.remove(name);
    }
    headers.extend(own);
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use http::{HeaderName, HeaderValue};
    use url::Url;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    fn trust() -> Trust {
        Trust {
            origins: vec![Origin::of(&url("https://a.example")), Origin::of(&url("https://also-a.example"))],
            sensitive_names: vec![HeaderName::from_static("x-odd")],
            public_names: ["x-odd", "x-tenant"].map(HeaderName::from_static).into(),
        }
    }

    /// The default headers of a client that has none.
    fn none() -> &'static HeaderMap {
        static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
        &NONE
    }

    fn first<'a>(target: &str, defaults: &'a HeaderMap, own: HeaderMap) -> Hop<'a> {
        Hop::first(Method::GET, url(target).into(), defaults, own, RequestBody::Empty, &trust())
    }

    fn sent(hop: &Hop<'_>) -> Vec<String> {
        let mut names: Vec<_> = hop.headers.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn inv13_the_clients_credentials_go_to_trusted_origins_only() {
        let defaults = headers(&[("accept", "x"), ("authorization", "x"), ("x-odd", "x"), ("cookie", "x")]);
        let at_home = first("https://a.example/x", &defaults, HeaderMap::new());
        assert_eq!(sent(&at_home), ["accept", "authorization", "cookie", "x-odd"]);
        for foreign in ["https://b.example", "http://a.example", "https://a.example:8443"] {
            assert_eq!(sent(&first(foreign, &defaults, HeaderMap::new())), ["accept"], "{foreign}");
        }
    }

    #[test]
    fn inv13_what_was_stripped_is_not_restored() {
        let own = headers(&[("authorization", "own"), ("accept", "x"), ("referer", "x")]);
        let mut hop = first("https://a.example", none(), own);
        hop.move_to(url("https://also-a.example").into(), &trust());
        assert_eq!(sent(&hop), ["accept", "authorization", "referer"]);
        hop.move_to(url("https://b.example").into(), &trust());
        assert_eq!(sent(&hop), ["accept"]);
        hop.move_to(url("https://a.example").into(), &trust());
        assert_eq!(sent(&hop), ["accept"]);
    }

    #[test]
    fn inv13_a_foreign_server_cannot_send_us_home_with_our_credentials() {
        let mut hop = first("https://b.example", none(), HeaderMap::new());
        hop.move_to(url("https://a.example").into(), &trust());
        assert!(!hop.is_trusted());
        assert_eq!(sent(&hop), [""; 0]);
    }

    #[test]
    fn inv13_the_callers_own_header_goes_where_the_caller_says_and_no_further() {
        let mut hop = first("https://b.example/1", none(), headers(&[("authorization", "own")]));
        assert_eq!(sent(&hop), ["authorization"]);
        hop.move_to(url("https://b.example/2").into(), &trust());
        assert_eq!(sent(&hop), ["authorization"]);
        hop.move_to(url("https://c.example").into(), &trust());
        assert_eq!(sent(&hop), [""; 0]);
    }

    #[test]
    fn inv13_a_value_marked_sensitive_is_stripped_whatever_its_name() {
        let mut own = headers(&[("x-tenant", "x")]);
        let mut value = HeaderValue::from_static("canary");
        value.set_sensitive(true);
        own.append("x-tenant", value.clone());
        own.append("accept", value);
        let mut hop = first("https://a.example", none(), own);
        hop.move_to(url("https://b.example").into(), &trust());
        assert_eq!(sent(&hop), [""; 0]);
    }

    #[test]
    fn inv13_only_public_headers_go_to_a_foreign_origin() {
        let public = [
            "accept",
            "accept-language",
            "cache-control",
            "content-type",
            "if-none-match",
            "range",
            "traceparent",
            "tracestate",
            "user-agent",
            "x-correlation-id",
            "x-request-id",
            "x-tenant",
        ];
        let others = [
            "acceptance",
            "api-sign",
            "cb-access-sign",
            "cst",
            "host",
            "idempotency-key",
            "iffy",
            "jenkins-crumb",
            "origin",
            "retry-after",
            "x-content-type",
            "x-forwarded-client-cert",
            "x-jfrog-art-api",
            "x-monkey",
            "x-odd",
            "x-vault-token",
        ];
        let all: HeaderMap = public
            .iter()
            .chain(&others)
            .map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x")))
            .collect();
        assert_eq!(sent(&first("https://b.example", &all, HeaderMap::new())), public);
        let mut hop = first("https://a.example", none(), all);
        assert_eq!(sent(&hop).len(), public.len() + others.len());
        hop.move_to(url("https://b.example").into(), &trust());
        assert_eq!(sent(&hop), public);
    }

    #[test]
    fn the_callers_headers_win_and_keep_all_their_values() {
        let mut own = headers(&[("accept", "one")]);
        own.append("accept", HeaderValue::from_static("two"));
        let defaults = headers(&[("accept", "default")]);
        let hop = first("https://a.example", &defaults, own);
        assert_eq!(hop.headers.get_all("accept").iter().collect::<Vec<_>>(), ["one", "two"]);
    }
}
