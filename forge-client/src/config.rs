use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{ConfigError, Secret};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use url::Url;
use zeroize::Zeroizing;

use crate::auth::TokenAuth;
use crate::client::Inner;
use crate::hop::Trust;
use crate::target::{BaseUrl, Origin, check_http};
use crate::{HttpClient, HttpClientError};

type ConfigureHttp = Arc<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>;

/// Settings of an [`HttpClient`], complete and checked.
#[derive(Clone)]
pub struct HttpClientConfig(Settings);

/// Collects the settings of an [`HttpClient`].
///
/// | setting | default |
/// | --- | --- |
/// | [`with_base_url`](Self::with_base_url) | none: URLs must be absolute |
/// | [`with_timeout`](Self::with_timeout) | 30 s an attempt |
/// | [`with_connect_timeout`](Self::with_connect_timeout) | 10 s |
/// | [`with_redirects`](Self::with_redirects) | followed, at most 10 |
/// | [`with_header`](Self::with_header) | none |
/// | authentication | none |
///
/// ```
/// use forge_client::{HttpClient, HttpClientConfigBuilder};
///
/// let config = HttpClientConfigBuilder::new()
///     .with_base_url("https://api.example.com")
///     .with_bearer_token("your-api-token-here")
///     .build()?;
/// let client = HttpClient::new(config)?;
/// # Ok::<_, forge_client::HttpClientError>(())
/// ```
#[must_use]
pub struct HttpClientConfigBuilder<T = HttpClientConfig> {
    settings: Settings,
    base_url: Option<String>,
    credential_origins: Vec<String>,
    invalid: Option<ConfigError>,
    makes: PhantomData<fn() -> T>,
}

/// An [`HttpClientConfigBuilder`] that makes a client at once.
pub type HttpClientBuilder = HttpClientConfigBuilder<HttpClient>;

#[derive(Clone)]
struct Settings {
    base_url: BaseUrl,
    origins: Vec<Origin>,
    timeout: Duration,
    connect_timeout: Duration,
    default_headers: HeaderMap,
    authorization: Option<Authorization>,
    api_key: Option<(HeaderName, HeaderValue)>,
    max_redirects: Option<u32>,
    configure_http: Option<ConfigureHttp>,
}

/// What goes into the `Authorization` header, or another one for tokens.
#[derive(Clone)]
enum Authorization {
    Fixed(HeaderValue),
    Tokens(TokenAuth),
}

impl HttpClientConfigBuilder {
    /// The defaults.
    pub fn new() -> Self {
        Self::with_defaults()
    }

    /// The configuration.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be.
    pub fn build(self) -> Result<HttpClientConfig, HttpClientError> {
        self.finish()
    }
}

impl Default for HttpClientConfigBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClientBuilder {
    pub(crate) fn for_client(base_url: impl Into<String>) -> Self {
        Self::with_defaults().with_base_url(base_url)
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// Names the setting that cannot be.
    pub fn build(self) -> Result<HttpClient, HttpClientError> {
        HttpClient::new(self.finish()?)
    }
}

impl<T> HttpClientConfigBuilder<T> {
    fn with_defaults() -> Self {
        Self {
            settings: Settings {
                base_url: BaseUrl::none(),
                origins: Vec::new(),
                timeout: Duration::from_secs(30),
                connect_timeout: Duration::from_secs(10),
                default_headers: HeaderMap::new(),
                authorization: None,
                api_key: None,
                max_redirects: Some(10),
                configure_http: None,
            },
            base_url: None,
            credential_origins: Vec::new(),
            invalid: None,
            makes: PhantomData,
        }
    }

    /// Where requests go, and whose credentials these are. Relative URLs are appended to its path:
    /// `users` and `/users` below `https://api.example.com/v1` both mean
    /// `https://api.example.com/v1/users`. Only a URL with a scheme of its own leaves the base.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// How long each attempt may take, reading its body included. Default: 30 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long connecting may take. Default: 10 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// A header for every request that does not set it itself. One that may be a credential
    /// (`Cookie`, `X-Api-Key`, a value marked sensitive, …) goes to trusted origins only.
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match (name.try_into(), value.try_into()) {
            (Ok(name), Ok(value)) => _ = self.settings.default_headers.insert(name, value),
            (Err(_), _) => self.refuse(ConfigError::new("header", "a name that fits into a header")),
            (_, Err(_)) => self.refuse(ConfigError::new("header", "a value that fits into a header")),
        }
        self
    }

    /// Several headers, as [`with_header`](Self::with_header).
    pub fn with_headers<N, V>(self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        headers.into_iter().fold(self, |builder, (name, value)| builder.with_header(name, value))
    }

    /// A token that never changes (RFC 6750). The last of this, [`with_basic_auth`] and
    /// [`with_token_auth`] counts.
    ///
    /// [`with_basic_auth`]: Self::with_basic_auth
    /// [`with_token_auth`]: Self::with_token_auth
    pub fn with_bearer_token(self, token: impl Into<Secret>) -> Self {
        let token = token.into();
        self.with_authorization("bearer_token", Secret::from(format!("Bearer {}", token.expose())))
    }

    /// HTTP Basic authentication (RFC 7617).
    pub fn with_basic_auth(mut self, username: &str, password: impl Into<Secret>) -> Self {
        if username.contains(':') {
            self.refuse(ConfigError::new("username", "no colon (RFC 7617 2)"));
        }
        let pair = Zeroizing::new(format!("{username}:{}", password.into().expose()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        self.with_authorization("basic_auth", Secret::from(format!("Basic {}", *encoded)))
    }

    /// Tokens from a source, renewed when they are rejected: a [`TokenAuth`] with settings, or just
    /// the source, such as a `TokenManager`.
    pub fn with_token_auth(mut self, auth: impl Into<TokenAuth>) -> Self {
        self.settings.authorization = Some(Authorization::Tokens(auth.into()));
        self
    }

    /// An API key in the header `X-API-Key`, besides whatever goes into `Authorization`.
    pub fn with_api_key(self, key: impl Into<Secret>) -> Self {
        self.with_api_key_header(key, "X-API-Key")
    }

    /// An API key in a header of this name.
    pub fn with_api_key_header(mut self, key: impl Into<Secret>, header_name: &str) -> Self {
        match (HeaderName::try_from(header_name), key.into().into_header_value()) {
            (Ok(name), Ok(value)) => self.settings.api_key = Some((name, value)),
            (Err(error), _) => {
                self.refuse(ConfigError::new("header_name", "a header name").with_source(error));
            }
            (_, Err(error)) => {
                self.refuse(
                    ConfigError::new("api_key", "a value that fits into a header").with_source(error),
                );
            }
        }
        self
    }

    /// One more origin (scheme, host, port of this URL) that may see the client's credentials.
    pub fn with_credential_origin(mut self, url: impl Into<String>) -> Self {
        self.credential_origins.push(url.into());
        self
    }

    /// Whether redirects are followed. Default: yes. Where not, they go to the caller as they came.
    pub fn with_redirects(self, follow: bool) -> Self {
        let limit = self.settings.max_redirects.unwrap_or(10);
        self.redirects(follow.then_some(limit))
    }

    /// How many redirects a call follows at most; one more is an error. Default: 10.
    pub fn with_max_redirects(self, limit: u32) -> Self {
        self.redirects(Some(limit))
    }

    /// Any setting of the `reqwest` client underneath: certificates, proxies, pools. Called once per
    /// client; the last such setting counts. Redirects, retries and referer stay off there: this client
    /// does the first itself, and none of the others. Default headers set there go to every origin.
    pub fn with_http(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.settings.configure_http = Some(Arc::new(configure));
        self
    }

    fn redirects(mut self, limit: Option<u32>) -> Self {
        self.settings.max_redirects = limit;
        self
    }

    fn with_authorization(mut self, field: &'static str, value: Secret) -> Self {
        match value.into_header_value() {
            Ok(value) => self.settings.authorization = Some(Authorization::Fixed(value)),
            Err(error) => {
                self.refuse(ConfigError::new(field, "a value that fits into a header").with_source(error));
            }
        }
        self
    }

    /// The first mistake is the one to be told.
    fn refuse(&mut self, error: ConfigError) {
        self.invalid.get_or_insert(error);
    }

    fn finish(self) -> Result<HttpClientConfig, HttpClientError> {
        if let Some(invalid) = self.invalid {
            return Err(invalid.into());
        }
        let mut settings = self.settings;
        if let Some(base_url) = self.base_url {
            let url = absolute("base_url", &base_url)?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(HttpClientError::builder("base_url", "a URL without query and fragment"));
            }
            settings.base_url = BaseUrl::new(&url);
            settings.origins.push(Origin::of(&url));
        }
        for origin in &self.credential_origins {
            settings.origins.push(Origin::of(&absolute("credential_origin", origin)?));
        }
        let has_credentials = settings.authorization.is_some() || settings.api_key.is_some();
        if has_credentials && settings.origins.is_empty() {
            let expected = "a base URL or a credential origin: credentials belong to an origin";
            return Err(HttpClientError::builder("base_url", expected));
        }
        if let Some(Authorization::Tokens(auth)) = &settings.authorization {
            let auth = auth.clone().build()?;
            if settings.api_key.as_ref().is_some_and(|(name, _)| name == auth.header_name()) {
                return Err(HttpClientError::builder("api_key", "a header other than the one for the token"));
            }
        }
        Ok(HttpClientConfig(settings))
    }
}

fn absolute(field: &'static str, url: &str) -> Result<Url, ConfigError> {
    let url = Url::parse(url)
        .map_err(|error| ConfigError::new(field, "an absolute http or https URL").with_source(error))?;
    check_http(field, &url)?;
    Ok(url)
}

impl HttpClientConfig {
    pub(crate) fn into_client(self) -> Result<Inner, HttpClientError> {
        let settings = self.0;
        #[cfg(all(feature = "rustls-no-provider", not(any(feature = "rustls", feature = "native-tls"))))]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // reqwest would panic.
            let expected = "a crypto provider of rustls, installed by the program";
            return Err(HttpClientError::builder("http", expected));
        }
        let builder = reqwest::Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(settings.connect_timeout)
            .user_agent(concat!("requestforge/", env!("CARGO_PKG_VERSION")));
        let builder = match &settings.configure_http {
            Some(configure) => configure(builder),
            None => builder,
        };
        let http =
            builder.redirect(Policy::none()).referer(false).retry(reqwest::retry::never()).build().map_err(
                |error| ConfigError::new("http", "settings that reqwest accepts").with_source(error),
            )?;

        let mut bound_headers: Vec<_> = settings.api_key.into_iter().collect();
        let mut token_auth = None;
        match settings.authorization {
            Some(Authorization::Fixed(value)) => bound_headers.push((AUTHORIZATION, value)),
            Some(Authorization::Tokens(auth)) => token_auth = Some(auth.build()?),
            None => {}
        }
        let mut sensitive_names: Vec<_> = bound_headers.iter().map(|(name, _)| name.clone()).collect();
        sensitive_names.extend(token_auth.as_ref().map(|auth| auth.header_name().clone()));
        Ok(Inner {
            http,
            base_url: settings.base_url,
            default_headers: settings.default_headers,
            trust: Trust { origins: settings.origins, bound_headers, sensitive_names },
            token_auth,
            max_redirects: settings.max_redirects,
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("default_headers", &self.default_headers.keys().collect::<Vec<_>>())
            .field("max_redirects", &self.max_redirects)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClientConfig").field(&self.0).finish()
    }
}

impl<T> fmt::Debug for HttpClientConfigBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The base URL was not checked yet: it may hold a password.
        f.debug_struct("HttpClientConfigBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
