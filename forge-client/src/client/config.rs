mod credentials;
mod getters;
mod hooks;
mod retries;
mod transport;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use forge_core::ConfigError;
use http::{HeaderName, HeaderValue};

use crate::auth::{ApiKeyAuth, Auth, AuthPlan};
use crate::origin::{BaseUrl, Origin, absolute, header};
use crate::settings::Settings;
use crate::{HttpClient, HttpClientError};

/// The settings of an [`HttpClient`], complete and checked.
#[derive(Clone)]
pub struct HttpClientConfig(pub(super) Settings);

/// Collects the settings of an [`HttpClient`]. Copies share token sources, hooks and a circuit breaker; each
/// client has a retry budget of its own.
///
/// | setting | default |
/// | --- | --- |
/// | [`with_base_url`](Self::with_base_url) | none: URLs must be absolute |
/// | [`with_header`](Self::with_header) | none |
/// | [`with_public_header`](Self::with_public_header) | none besides the built-in list |
/// | [`with_timeout`](Self::with_timeout) | 30 s an attempt |
/// | [`with_total_timeout`](Self::with_total_timeout) | none |
/// | [`with_connect_timeout`](Self::with_connect_timeout) | 10 s |
/// | [`with_pool_idle_timeout`](Self::with_pool_idle_timeout) | 90 s |
/// | [`with_pool_max_idle_per_host`](Self::with_pool_max_idle_per_host) | any number |
/// | [`with_retry`](Self::with_retry) | nothing is retried |
/// | [`with_max_retry_after`](Self::with_max_retry_after) | 60 s |
/// | [`with_max_cool_down`](Self::with_max_cool_down) | 60 s |
/// | [`with_circuit_breaker`](Self::with_circuit_breaker) | none |
/// | [`with_redirects`](Self::with_redirects) | followed, at most 10 |
/// | [`with_max_body`](Self::with_max_body) | 64 MiB |
/// | authentication | none |
/// | [`with_plain_http_credentials`](Self::with_plain_http_credentials) | a warning if credentials go over plain http |
/// | [`with_request_hook`](Self::with_request_hook), [`with_response_hook`](Self::with_response_hook), [`with_error_hook`](Self::with_error_hook) | none |
/// | [`with_logging`](Self::with_logging) | nothing is logged |
///
/// ```
/// use requestforge::{HttpClient, HttpClientConfigBuilder};
///
/// let config = HttpClientConfigBuilder::new()
///     .with_base_url("https://api.example.com")
///     .with_bearer_token("your-api-token-here")
///     .build()?;
/// let client = HttpClient::new(config)?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[must_use]
pub struct HttpClientConfigBuilder<T = HttpClientConfig> {
    settings: Settings,
    base_url: Option<String>,
    credential_origins: Vec<String>,
    auth: Option<Auth>,
    api_key: Option<ApiKeyAuth>,
    first_error: Option<ConfigError>,
    makes: PhantomData<fn() -> T>,
}

/// An [`HttpClientConfigBuilder`] that makes a client at once.
pub type HttpClientBuilder = HttpClientConfigBuilder<HttpClient>;

impl HttpClientConfigBuilder {
    /// A builder with the defaults.
    pub fn new() -> Self {
        Self::with_defaults()
    }

    /// Builds the configuration.
    ///
    /// # Errors
    ///
    /// Names the invalid setting.
    pub fn build(self) -> Result<HttpClientConfig, HttpClientError> {
        self.build_config()
    }
}

// Not derived: `derive(Clone)` would demand `T: Clone`, and no builder holds a `T`.
impl<T> Clone for HttpClientConfigBuilder<T> {
    fn clone(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            base_url: self.base_url.clone(),
            credential_origins: self.credential_origins.clone(),
            auth: self.auth.clone(),
            api_key: self.api_key.clone(),
            first_error: self.first_error.clone(),
            makes: PhantomData,
        }
    }
}

impl Default for HttpClientConfigBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpClientBuilder {
    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Names the invalid setting.
    pub fn build(self) -> Result<HttpClient, HttpClientError> {
        HttpClient::new(self.build_config()?)
    }
}

impl<T> HttpClientConfigBuilder<T> {
    pub(crate) fn for_client(base_url: impl Into<String>) -> Self {
        Self::with_defaults().with_base_url(base_url)
    }

    fn with_defaults() -> Self {
        Self {
            settings: Settings::default(),
            base_url: None,
            credential_origins: Vec::new(),
            auth: None,
            api_key: None,
            first_error: None,
            makes: PhantomData,
        }
    }

    /// The URL to which the client appends relative URLs, and whose origin may see the credentials. Below
    /// `https://api.example.com/v1`, both `users` and `/users` mean `https://api.example.com/v1/users`. Only a
    /// URL with a scheme of its own leaves the base URL.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// A header for every request that does not set it itself. The client sends it to trusted origins only,
    /// unless it is a [public header](Self::with_public_header). The builder refuses `Content-Length` and
    /// `Transfer-Encoding`: they follow from the body.
    pub fn with_header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        match header(name, value) {
            Ok((name, value)) => _ = self.settings.default_headers.insert(name, value),
            Err(error) => self.record_error(error),
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

    /// Adds a header that carries no credential. Public headers go to every origin, and
    /// [the log](crate::Logging::log_headers) shows their values. Every other header may carry a credential,
    /// whatever its name, so the log masks its value. The client sends such default headers only to origins that
    /// may see its credentials; on a redirect it treats such headers of a request in the same way.
    ///
    /// The built-in list is `Accept`, `Accept-*`, `Cache-Control`, `Content-*`, `If-*`, `Range`, `Traceparent`,
    /// `Tracestate`, `User-Agent`, `X-Correlation-ID` and `X-Request-ID`. A
    /// [hook](crate::RequestHook::public_headers) can add others. A value marked sensitive is never public.
    ///
    /// [`build`](HttpClientConfigBuilder::build) refuses the headers of the client's authentication,
    /// `Authorization`, `Proxy-Authorization`, `Cookie` and `Set-Cookie`.
    ///
    /// ```
    /// use requestforge::HttpClient;
    ///
    /// let client = HttpClient::builder("https://api.example.com")
    ///     .with_header("X-Tenant", "acme")
    ///     .with_public_header("X-Tenant")
    ///     .build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    pub fn with_public_header<N>(mut self, name: N) -> Self
    where
        N: TryInto<HeaderName>,
    {
        match name.try_into() {
            Ok(name) => self.settings.trust.public_names.push(name),
            Err(_) => self.record_error(ConfigError::new("public_header", "a name that fits into a header")),
        }
        self
    }

    /// Keeps the first error, which `build` returns.
    fn record_error(&mut self, error: ConfigError) {
        self.first_error.get_or_insert(error);
    }

    pub(crate) fn build_config(self) -> Result<HttpClientConfig, HttpClientError> {
        if let Some(first_error) = self.first_error {
            return Err(first_error.into());
        }
        let mut settings = self.settings;
        if let Some(base_url) = self.base_url {
            let url = absolute("base_url", &base_url)?;
            if url.query().is_some() || url.fragment().is_some() {
                return Err(HttpClientError::builder("base_url", "a URL without query and fragment"));
            }
            settings.trust.origins.push(Origin::of(&url));
            settings.base_url = BaseUrl::new(url);
        }
        for origin in &self.credential_origins {
            settings.trust.origins.push(Origin::of(&absolute("credential_origin", origin)?));
        }
        settings.authentication = combined_plan(self.auth, self.api_key)?.map(Arc::new);
        settings.complete_trust()?;
        if settings.authentication.is_some() && settings.trust.origins.is_empty() {
            let expected = "a base URL or a credential origin: credentials belong to an origin";
            return Err(HttpClientError::builder("base_url", expected));
        }
        let breaker_of_strategy =
            settings.retry_strategy.as_ref().and_then(|strategy| strategy.circuit_breaker().cloned());
        if settings.breaker.is_some() && breaker_of_strategy.is_some() {
            return Err(HttpClientError::builder(
                "circuit_breaker",
                "at most one breaker: this one, or that of the retry strategy",
            ));
        }
        settings.breaker = settings.breaker.or(breaker_of_strategy);
        settings.log_warnings();
        Ok(HttpClientConfig(settings))
    }
}

/// The plan with the API key and the other authentication.
fn combined_plan(auth: Option<Auth>, api_key: Option<ApiKeyAuth>) -> Result<Option<AuthPlan>, ConfigError> {
    let auth = auth.map(Auth::build).transpose()?;
    let api_key = api_key.map(|api_key| Auth::from(api_key).build()).transpose()?;
    match (api_key, auth) {
        (Some(api_key), Some(auth)) => AuthPlan::all(vec![api_key, auth]).map(Some).map_err(|_| {
            ConfigError::new("api_key", "a header other than the one of the other authentication")
        }),
        (api_key, auth) => Ok(api_key.or(auth)),
    }
}

impl fmt::Debug for HttpClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClientConfig").field(&self.0).finish()
    }
}

impl<T> fmt::Debug for HttpClientConfigBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the base URL, which was not checked yet: it may hold a password.
        f.debug_struct("HttpClientConfigBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
