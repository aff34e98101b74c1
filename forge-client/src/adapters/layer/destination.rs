use http::Uri;
use url::Url;

use crate::origin::origin_text;

/// The origins that may see the credentials, for requests that have URIs.
#[derive(Debug)]
pub(super) struct Destinations {
    origins: Vec<Url>,
    /// Whether requests whose URI is only a path go to the last one.
    has_path_origin: bool,
}

impl Destinations {
    pub(super) fn new(origins: Vec<Url>, has_path_origin: bool) -> Self {
        Self { origins, has_path_origin }
    }

    /// The URL of a request to one of the origins.
    pub(super) fn url(&self, uri: &Uri) -> Option<Url> {
        let named = match (uri.scheme(), uri.authority()) {
            (Some(_), Some(_)) => self.origins.iter().find(|origin| is_at(origin, uri)),
            (None, None) => self.origins.last().filter(|_| self.has_path_origin),
            // Authority form, of a request to a proxy.
            _ => None,
        };
        // As clients send it: with a slash before a query without a path.
        let path = uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
        // Attack: a target such as `*` is no path, and would become part of the host.
        let named = named.filter(|_| path.starts_with('/'))?;
        Url::parse(&[origin_text(named), &path].concat()).ok()
    }
}

/// Whether a URI literally names this origin. Attack: the client that connects reads the URI itself, and may
/// read it in another way than `url` does.
fn is_at(origin: &Url, uri: &Uri) -> bool {
    let default = match uri.scheme_str() {
        Some("https") => 443,
        Some("http") => 80,
        _ => return false,
    };
    uri.scheme_str() == Some(origin.scheme())
        && uri.host().zip(origin.host_str()).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
        && Some(uri.port_u16().unwrap_or(default)) == origin.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destinations(has_path_origin: bool) -> Destinations {
        let origins = ["https://api.example.com/v1", "http://[::1]:8080", "https://127.0.0.1"];
        Destinations::new(origins.map(|origin| Url::parse(origin).unwrap()).into(), has_path_origin)
    }

    fn url(destinations: &Destinations, uri: &str) -> Option<String> {
        destinations.url(&uri.parse().unwrap()).map(String::from)
    }

    #[test]
    fn inv13_an_origin_is_scheme_host_and_port_as_they_stand_in_the_uri() {
        for (uri, expected) in [
            ("https://api.example.com", Some("https://api.example.com/")),
            ("https://api.example.com/users?page=2", Some("https://api.example.com/users?page=2")),
            ("https://API.example.com:443/", Some("https://api.example.com/")),
            ("https://api.example.com:/", Some("https://api.example.com/")),
            ("https://api.example.com?page=2", Some("https://api.example.com/?page=2")),
            ("https://api.example.com//evil.com/x", Some("https://api.example.com//evil.com/x")),
            ("http://[::1]:8080/x", Some("http://[::1]:8080/x")),
            ("https://127.0.0.1/", Some("https://127.0.0.1/")),
            ("https://user:pw@api.example.com/x", Some("https://api.example.com/x")),
            ("https://api.example.com@evil.com/x", None),
            ("https://api.example.com:443@evil.com/", None),
            ("http://api.example.com/", None),
            ("http://api.example.com:443/", None),
            ("https://api.example.com:8443/", None),
            ("https://api.example.com./", None),
            ("https://example.com/", None),
            ("https://api.example.com.evil.com/", None),
            ("https://127.1/", None),
            ("https://0x7f.0.0.1/", None),
            ("http://[::1]/", None),
            ("http://[0:0:0:0:0:0:0:1]:8080/", None),
            ("ws://api.example.com/", None),
        ] {
            assert_eq!(url(&destinations(false), uri).as_deref(), expected, "{uri}");
        }
    }

    #[test]
    fn inv13_a_mere_path_leads_to_an_origin_only_if_that_was_said() {
        for uri in ["/users", "/", "*", "api.example.com:443", "//evil.com/x"] {
            assert_eq!(url(&destinations(false), uri), None, "{uri}");
        }
        for (uri, expected) in [
            ("/users?x", Some("https://127.0.0.1/users?x")),
            ("//evil.com/x", Some("https://127.0.0.1//evil.com/x")),
            ("*", None),
            ("127.0.0.1:443", None),
            ("127.0.0.1", None),
            ("https://evil.com/", None),
        ] {
            assert_eq!(url(&destinations(true), uri).as_deref(), expected, "{uri}");
        }
    }
}
