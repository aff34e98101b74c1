use std::borrow::Cow;
use std::fmt;

use forge_core::{ConfigError, is_loopback_host, looks_like_credential_name};
use url::Url;

/// The URL of a token endpoint to which a client may send secrets.
///
/// The URL is `https`, or `http` to this machine (which the client calls without a proxy), or plain `http` that the user
/// has expressly accepted. It has no fragment (RFC 6749 3.2), no user name and no password.
///
/// ```
/// use requestforge::oauth2::TokenEndpoint;
///
/// assert!(TokenEndpoint::new("https://auth.example.com/token").is_ok());
/// assert!(TokenEndpoint::new("http://127.0.0.1:8080/token").is_ok());
/// assert!(TokenEndpoint::new("http://auth.example.com/token").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TokenEndpoint {
    url: Url,
}

impl TokenEndpoint {
    /// Checks a URL.
    ///
    /// # Errors
    ///
    /// The URL is not absolute, is neither `https` nor loopback, or has a fragment, a user name or a password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let endpoint = Self::accepting_plain_http(url)?;
        if endpoint.url.scheme() == "https" || endpoint.is_loopback() {
            return Ok(endpoint);
        }
        Err(invalid(
            "https, or http to localhost, 127.0.0.0/8 or [::1]; plain http would send secrets in the clear (see \
             `danger_accept_plain_http`)",
        ))
    }

    /// As [`new`](Self::new), but accepts plain `http` to any host. Attack: everybody who listens on the network reads the
    /// secrets.
    ///
    /// # Errors
    ///
    /// The URL is not an absolute `http` or `https` URL, or has a fragment, a user name or a password.
    pub fn accepting_plain_http(url: &str) -> Result<Self, ConfigError> {
        let url = Url::parse(url).map_err(|error| invalid("an absolute URL").with_source(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("an http or https URL"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("a URL without user name and password"));
        }
        if url.fragment().is_some() {
            return Err(invalid("a URL without a fragment"));
        }
        Ok(Self { url })
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same endpoint with more parameters in the query. Servers and proxies log queries, so put a secret into the body
    /// if the endpoint accepts that.
    #[must_use]
    pub fn with_query_pairs<N: AsRef<str>, V: AsRef<str>>(
        &self,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut pairs = pairs.into_iter().peekable();
        let mut url = self.url.clone();
        if pairs.peek().is_some() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Self { url }
    }

    /// The values in the query that may be secrets, and that no error may show: each value under the name of a secret, and
    /// each value with at least 8 bytes. Shorter values, such as `2` in `v=2`, are versions and tenants. Masking these would
    /// hide most of a server's message.
    #[doc(hidden)] // for our other crates
    pub fn possible_secrets(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.url.query_pairs().filter_map(|(name, value)| {
            let is_named_secret = looks_like_credential_name(&name);
            // In `?AKIA…` the secret is the name of a parameter without a value.
            let value = if value.is_empty() { name } else { value };
            (is_named_secret || value.len() >= MIN_SECRET_LEN).then_some(value)
        })
    }

    /// Whether the URL names this machine.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.url.host_str().is_some_and(is_loopback_host)
    }
}

/// The minimum length in bytes of a value that may be a secret: an attacker could guess a shorter one.
const MIN_SECRET_LEN: usize = 8;

fn invalid(expected: &str) -> ConfigError {
    ConfigError::new("token_url", expected)
}

/// Leaves out the query, which may contain a secret.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.url.clone();
        url.set_query(None);
        write!(f, "TokenEndpoint({url})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv14_https_or_loopback_or_an_express_opt_in() {
        for url in [
            "https://auth.example.com/token",
            "http://localhost:1/token",
            "http://127.0.0.1/token",
            "http://127.9.9.9/token",
            "http://[::1]:8080/token",
            "http://[::ffff:127.0.0.1]/token",
        ] {
            assert!(TokenEndpoint::new(url).is_ok(), "{url}");
        }
        for url in [
            "http://auth.example.com/token",
            "http://a.localhost/token",
            "http://localhost.example.com/token",
            "http://127.0.0.1.example.com/token",
            "http://128.0.0.1/token",
            "http://0.0.0.0/token",
            "http://[::2]/token",
            "http://[::ffff:10.0.0.1]/token",
            "http://notlocalhost/token",
        ] {
            assert_eq!(TokenEndpoint::new(url).unwrap_err().field(), "token_url", "{url}");
            assert!(TokenEndpoint::accepting_plain_http(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_token_url_is_refused_and_not_echoed() {
        for url in [
            "canary",
            "/canary",
            "ftp://canary.example.com/token",
            "https://user:canary@auth.example.com/token",
            "https://canary@auth.example.com/token",
            "https://auth.example.com/token#canary",
        ] {
            for refused in [TokenEndpoint::new(url), TokenEndpoint::accepting_plain_http(url)] {
                let error = refused.unwrap_err();
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
        }
    }

    #[test]
    fn inv16_debug_leaves_the_query_out() {
        let endpoint = TokenEndpoint::new("https://auth.example.com/token?key=canary").unwrap();
        assert_eq!(format!("{endpoint:?}"), "TokenEndpoint(https://auth.example.com/token)");
        let more = endpoint.with_query_pairs([("a b", "c&d")]);
        assert_eq!(more.url().query(), Some("key=canary&a+b=c%26d"));
        assert_eq!(endpoint.with_query_pairs::<&str, &str>([]), endpoint);
        assert_eq!(format!("{more:?}"), "TokenEndpoint(https://auth.example.com/token)");
    }
}
