use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use forge_core::{ConfigError, is_loopback_host};
use url::{ParseError, Url};

/// The URL to which a client's relative references are appended.
///
/// | reference, with the base `https://api.example.com/v1` | URL |
/// | --- | --- |
/// | `users`, `/users` | `https://api.example.com/v1/users` |
/// | `?page=2` | `https://api.example.com/v1/?page=2` |
/// | `//other.example.com/x`, `\\other.example.com/x`, `/\other.example.com/x` | stays at `api.example.com` |
/// | `https://other.example.com/x` | itself |
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl(Option<Url>);

impl BaseUrl {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// One without query and fragment.
    pub(crate) fn new(url: Url) -> Self {
        Self(Some(url))
    }

    /// The URL itself, if there is one.
    pub(crate) fn url(&self) -> Option<&Url> {
        self.0.as_ref()
    }

    /// The text with which the path of every relative reference begins; `None` if it may be any path.
    pub(crate) fn directory(&self) -> Option<String> {
        let path = self.0.as_ref()?.path().trim_end_matches('/');
        (!path.is_empty()).then(|| format!("{path}/"))
    }

    /// The URL that a reference means. Only a reference with a scheme of its own can leave the base
    /// URL's host: all others become part of its path.
    pub(crate) fn join(&self, reference: &str) -> Result<Url, ConfigError> {
        check_characters("url", reference)?;
        let unreadable =
            |error| ConfigError::new("url", "a path, or an absolute http or https URL").with_source(error);
        match &self.0 {
            // Speed: the usual case. Such a reference has no scheme.
            Some(base) if reference.starts_with('/') => append(base, "", reference).map_err(unreadable),
            base => match (Url::parse(reference), base) {
                (Ok(absolute), _) => check_http("url", &absolute).map(|()| absolute),
                (Err(ParseError::RelativeUrlWithoutBase), Some(base)) => {
                    append(base, "/", reference).map_err(unreadable)
                }
                (Err(ParseError::RelativeUrlWithoutBase), None) => {
                    Err(ConfigError::new("url", "an absolute URL, as there is no base URL"))
                }
                (Err(error), _) => Err(unreadable(error)),
            },
        }
    }
}

/// The URL below a base.
// Speed: most references are only a path. To parse a path takes much less time than to parse a URL.
fn append(base: &Url, slash: &str, reference: &str) -> Result<Url, ParseError> {
    let path = match base.path().trim_end_matches('/') {
        "" if slash.is_empty() => Cow::Borrowed(reference),
        below => Cow::Owned([below, slash, reference].concat()),
    };
    if path.starts_with("//") || path.starts_with("/\\") {
        // Attack: parsed alone, such a path would begin with a host.
        return Url::parse(&[origin_text(base), &path].concat());
    }
    if path.contains(['?', '#', ' ']) {
        return base.join(&path);
    }
    // Only a path, which is faster to parse.
    let mut url = base.clone();
    url.set_path(&path);
    Ok(url)
}

/// Refuses control characters. Attack: `url` removes some of them and encodes others, so the client would send
/// another URL than the one that was checked here. A caller who needs one encodes it.
fn check_characters(field: &'static str, reference: &str) -> Result<(), ConfigError> {
    let is_refused = reference.bytes().any(|byte| byte.is_ascii_control())
        || (!reference.is_ascii() && reference.contains(char::is_control));
    if is_refused {
        return Err(ConfigError::new(field, "a URL without control characters, such as line breaks"));
    }
    Ok(())
}

/// An absolute URL in a setting or an argument.
pub(crate) fn absolute(field: &'static str, url: &str) -> Result<Url, ConfigError> {
    check_characters(field, url)?;
    let url = Url::parse(url)
        .map_err(|error| ConfigError::new(field, "an absolute http or https URL").with_source(error))?;
    check_http(field, &url)?;
    Ok(url)
}

/// Refuses URLs of other schemes, and user-info: it is a credential, and credentials have settings of their own.
fn check_http(field: &'static str, url: &Url) -> Result<(), ConfigError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(ConfigError::new(field, "an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::new(field, "a URL without user name and password (see `with_basic_auth`)"));
    }
    Ok(())
}

/// The URL of a request, and how errors, logs and `Debug` show it.
#[derive(Clone)]
pub(crate) struct RequestUrl {
    url: Url,
    /// The text to show, if a server redirected to a URL that repeats a secret.
    masked: Option<Box<str>>,
}

impl RequestUrl {
    /// A URL that errors and logs show as this text.
    pub(crate) fn masked(url: Url, shown: String) -> Self {
        Self { url, masked: Some(shown.into()) }
    }

    pub(crate) fn shown(&self) -> &str {
        self.masked.as_deref().unwrap_or_else(|| without_query(&self.url))
    }

    /// The origin as errors and logs show it.
    pub(crate) fn shown_origin(&self) -> &str {
        let origin = origin_text(&self.url);
        // If the host repeats a secret, all of the URL is masked.
        self.masked.as_deref().filter(|masked| !masked.starts_with(origin)).unwrap_or(origin)
    }

    /// Removes the fragment, which no client sends (RFC 3986 3.5).
    pub(crate) fn remove_fragment(&mut self) {
        self.url.set_fragment(None);
    }
}

impl From<Url> for RequestUrl {
    fn from(url: Url) -> Self {
        Self { url, masked: None }
    }
}

impl Deref for RequestUrl {
    type Target = Url;

    fn deref(&self) -> &Url {
        &self.url
    }
}

/// A URL as errors and `Debug` may show it: the query may hold secrets.
pub(crate) fn without_query(url: &Url) -> &str {
    &url[..url::Position::AfterPath]
}

/// The origin of a URL without user-info, as text: scheme, host and, unless it is the scheme's own, port.
pub(crate) fn origin_text(url: &Url) -> &str {
    &url[..url::Position::BeforePath]
}

/// An origin: scheme, host and port (RFC 6454 4). A credential belongs to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: Option<u16>,
}

impl Origin {
    pub(crate) fn of(url: &Url) -> Self {
        Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default(),
        }
    }

    pub(crate) fn contains(&self, url: &Url) -> bool {
        self.port == url.port_or_known_default()
            && url.host_str() == Some(self.host.as_str())
            && url.scheme() == self.scheme
    }

    /// Whether others on the network path can read the requests. Requests to this machine take no such path.
    pub(crate) fn is_plain_http(&self) -> bool {
        self.scheme == "http" && !is_loopback_host(&self.host)
    }
}

/// Scheme, host and port in the form in which a URL begins.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        write!(f, "{scheme}://{host}")?;
        match port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base() -> BaseUrl {
        BaseUrl::new(Url::parse("https://api.example.com/v1/").unwrap())
    }

    proptest! {
        #[test]
        fn inv13_a_reference_means_what_the_whole_url_would_mean(
            base in prop::sample::select(vec![
                "https://a.example", "http://127.0.0.1:8080/", "https://[::1]/v1", "http://a.example/v1//",
                "https://a.example//", "https://a.example/%2e/x/", "https://a.example:8443/a b/c",
            ]),
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "\\", ".", "..", "%2e", ":", "@", "?", "#", " ", "a", "é", "%2f", "b.example", ";", "&=", "'",
                ]),
                0..8,
            ),
        ) {
            let (base, reference) = (Url::parse(base).unwrap(), format!("/{}", pieces.concat()));
            let whole = Url::parse(&format!("{}{reference}", base.as_str().trim_end_matches('/'))).unwrap();
            let joined = BaseUrl::new(base.clone()).join(&reference).unwrap();
            prop_assert_eq!(joined.as_str(), whole.as_str());
            prop_assert_eq!(&joined, &whole);
            prop_assert!(Origin::of(&base).contains(&joined));
        }
    }

    #[test]
    fn inv13_only_a_reference_with_a_scheme_leaves_the_base() {
        for (reference, url) in [
            ("users", "https://api.example.com/v1/users"),
            ("/users", "https://api.example.com/v1/users"),
            ("", "https://api.example.com/v1/"),
            ("?page=2", "https://api.example.com/v1/?page=2"),
            ("/a/../b", "https://api.example.com/v1/b"),
            ("/../../admin", "https://api.example.com/admin"),
            ("//evil.example.com/x", "https://api.example.com/v1//evil.example.com/x"),
            ("\\\\evil.example.com/x", "https://api.example.com/v1///evil.example.com/x"),
            ("/\\evil.example.com/x", "https://api.example.com/v1//evil.example.com/x"),
            ("\\/evil.example.com", "https://api.example.com/v1///evil.example.com"),
            ("@evil.example.com/x", "https://api.example.com/v1/@evil.example.com/x"),
            (":80@evil.example.com", "https://api.example.com/v1/:80@evil.example.com"),
            ("/https://evil.example.com", "https://api.example.com/v1/https://evil.example.com"),
            ("https://evil.example.com/x", "https://evil.example.com/x"),
            ("HTTPS:evil.example.com", "https://evil.example.com/"),
            ("  https:\\\\evil.example.com", "https://evil.example.com/"),
        ] {
            let joined = base().join(reference).unwrap();
            assert_eq!(joined.as_str(), url, "{reference:?}");
            let home = Origin::of(&Url::parse("https://api.example.com").unwrap());
            assert_eq!(home.contains(&joined), !url.starts_with("https://evil"), "{reference:?}");
        }
    }

    #[test]
    fn what_is_no_http_url_is_refused_and_not_echoed() {
        for reference in [
            "ftp://canary.example.com",
            "canary:80/x",
            "javascript:canary",
            "http://[canary",
            "https://user:canary@api.example.com/",
            "https://canary@api.example.com/",
            "/canary\r\nX-Evil: 1",
            "/canary\n",
            "/canary\t/x",
            "/canary\0",
            "/canary\u{7f}",
            "/canary\u{85}",
            "\r\n//canary.example.com",
            "ht\ntps://canary.example.com",
            "\thttps://canary.example.com",
            "https://canary.example.com/\r\nX-Evil: 1",
        ] {
            let error = base().join(reference).unwrap_err();
            assert_eq!(error.field(), "url");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        assert!(BaseUrl::none().join("/users").is_err());
    }

    #[test]
    fn inv13_an_origin_is_scheme_host_and_port() {
        let origin = Origin::of(&Url::parse("https://Api.Example.com/v1").unwrap());
        for (url, same) in [
            ("https://api.example.com:443/x", true),
            ("https://API.example.com", true),
            ("http://api.example.com", false),
            ("http://api.example.com:443", false),
            ("https://api.example.com:8443", false),
            ("https://api.example.com.", false),
            ("https://example.com", false),
            ("https://api.example.com.evil.com", false),
        ] {
            assert_eq!(origin.contains(&Url::parse(url).unwrap()), same, "{url}");
        }
    }
}
