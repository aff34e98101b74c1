//! Settings of a step whose response has its token in a header or a cookie.

use forge_core::{ConfigError, check_cookie_name};
use http::HeaderName;
use http::header::SET_COOKIE;

use super::HttpTokenFetcherBuilder;
use crate::fetcher::location::HeaderSource;
use crate::fetcher::{HttpTokenFetcher, InHeader};

impl HttpTokenFetcher<InHeader> {
    /// A step with this name that calls an endpoint below a base URL. All other settings have a default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use requestforge::HeaderTokenFetcher;
    ///
    /// let session = HeaderTokenFetcher::builder("session", "https://api.example.com", "/login")
    ///     .depends_on(["user_token"])
    ///     .request_data_with(|context| [("token", context.get_token_value("user_token"))])
    ///     .token_header("X-Session-Id")
    ///     .ttl(Duration::from_secs(1800))
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn builder(
        name: impl Into<String>,
        base_url: impl Into<String>,
        endpoint: impl Into<String>,
    ) -> HttpTokenFetcherBuilder<InHeader> {
        HttpTokenFetcherBuilder::new(name.into(), base_url.into(), endpoint.into(), InHeader::authorization())
    }
}

impl HttpTokenFetcherBuilder<InHeader> {
    /// The header with the token. The token's type in front of it, as in `Authorization: Bearer …`, is not part of
    /// the token. The builder refuses `Set-Cookie`; use [`cookie`](Self::cookie) instead. Of the two settings the last
    /// one counts.
    pub fn token_header(mut self, name: &str) -> Self {
        match token_header(name) {
            Ok(name) => self.with(|header| header.source = HeaderSource::Named(name)),
            Err(error) => {
                self.location = Err(error);
                self
            }
        }
    }

    /// The cookie whose value is the token. Any of several `Set-Cookie` headers may set it (RFC 6265 5.2). The name is
    /// case-sensitive, and the attributes are not part of the token. The token lives as long as the cookie (`Max-Age`,
    /// else `Expires`), unless [`ttl`](Self::ttl) is set. A cookie that is empty or has expired is an error.
    ///
    /// A client sends the token with `TokenAuth::auth_cookie`, and a later step with
    /// [`cookie_header`](forge_core::TokenData::cookie_header). Neither checks `Domain`, `Path` and `Secure`: they send
    /// the token to the URLs of the client or the step, like any other token.
    ///
    /// ```
    /// use requestforge::{BodyTokenFetcher, FetchContext, HeaderTokenFetcher};
    ///
    /// let session = HeaderTokenFetcher::builder("session", "https://api.example.com", "/login")
    ///     .request_data([("username", "user@example.com"), ("password", "password123")])
    ///     .cookie("JSESSIONID")
    ///     .build()?;
    ///
    /// fn jsessionid(context: &FetchContext) -> Option<String> {
    ///     context.get_token("session").map(|session| session.cookie_header("JSESSIONID"))
    /// }
    ///
    /// let api_token = BodyTokenFetcher::builder("api_token", "https://api.example.com", "/token")
    ///     .depends_on(["session"])
    ///     .request_headers_with(|context| [("Cookie", jsessionid(context))])
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn cookie(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        if let Err(error) = check_cookie_name("cookie", &name) {
            self.location = Err(error);
            return self;
        }
        self.with(|header| header.source = HeaderSource::Cookie(name))
    }

    /// The token's type. It is the first word of the `Authorization` header that sends the token.
    pub fn token_type(self, token_type: impl Into<String>) -> Self {
        let token_type = token_type.into();
        self.check_token_type("token_type", &token_type).with(|header| header.token_type = token_type)
    }
}

fn token_header(name: &str) -> Result<HeaderName, ConfigError> {
    let name = HeaderName::try_from(name)
        .map_err(|error| ConfigError::new("token_header", "a header name").with_source(error))?;
    if name == SET_COOKIE {
        let expected = "another header than `set-cookie`: the setting `cookie` reads the token from a cookie";
        return Err(ConfigError::new("token_header", expected));
    }
    Ok(name)
}
