//! Credentials.

use forge_core::Secret;

use super::HttpClientConfigBuilder;
use crate::auth::{ApiKeyAuth, Auth, BasicAuth, FixedHeader, IntoTokenAuth};

impl<T> HttpClientConfigBuilder<T> {
    /// Authenticates with a bearer token that never changes (RFC 6750). The token must be printable ASCII and
    /// not empty. Of this setting, [`with_basic_auth`], [`with_token_auth`] and [`with_auth`], the last one
    /// counts.
    ///
    /// [`with_basic_auth`]: Self::with_basic_auth
    /// [`with_token_auth`]: Self::with_token_auth
    /// [`with_auth`]: Self::with_auth
    ///
    /// ```no_run
    /// use requestforge::{HttpClient, HttpClientConfigBuilder};
    ///
    /// # async fn run() -> Result<(), requestforge::HttpClientError> {
    /// let config = HttpClientConfigBuilder::new()
    ///     .with_base_url("https://api.example.com")
    ///     .with_bearer_token("your-api-token-here")
    ///     .build()?;
    /// let client = HttpClient::new(config)?;
    ///
    /// // Authorization: Bearer your-api-token-here
    /// let response = client.get("/protected-resource").send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_bearer_token(self, token: impl Into<Secret>) -> Self {
        self.with_auth(FixedHeader::bearer(&token.into()))
    }

    /// Authenticates with a user name and a password (RFC 7617). A [`BasicAuth`] has more settings.
    ///
    /// ```
    /// use requestforge::HttpClientConfigBuilder;
    ///
    /// let config = HttpClientConfigBuilder::new()
    ///     .with_base_url("https://api.example.com")
    ///     .with_basic_auth("user", "pass") // Authorization: Basic dXNlcjpwYXNz
    ///     .build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    pub fn with_basic_auth(self, username: &str, password: impl Into<Secret>) -> Self {
        self.with_auth(BasicAuth::new(username, password))
    }

    /// Authenticates with tokens from a source, and has them renewed after a server rejects them. Takes a
    /// [`TokenAuth`](crate::TokenAuth) with settings, or only the source: a `TokenManager`, any other
    /// [`TokenSource`](forge_core::TokenSource), or a provider of this project. For a provider of your own,
    /// pass `TokenManager::new(provider)`.
    ///
    /// ```no_run
    /// use requestforge::{HttpClient, HttpClientConfigBuilder, TokenAuth};
    ///
    /// # async fn run(
    /// #     token_manager: impl requestforge::TokenSource + 'static,
    /// # ) -> Result<(), requestforge::HttpClientError> {
    /// let config = HttpClientConfigBuilder::new()
    ///     .with_base_url("https://api.example.com")
    ///     .with_token_auth(TokenAuth::new(token_manager).excluded_paths(["/health", "/public"]))
    ///     .build()?;
    /// let client = HttpClient::new(config)?;
    ///
    /// // The first request fetches a token. Further requests use it, until it expires and is renewed.
    /// let response = client.get("/protected-resource").send().await?;
    /// let response = client.get("/another-resource").send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_token_auth(self, auth: impl IntoTokenAuth) -> Self {
        self.with_auth(auth.into_token_auth())
    }

    /// Authenticates in any way: with a [`TokenAuth`](crate::TokenAuth), an [`ApiKeyAuth`] or a [`BasicAuth`],
    /// with several of them as a [`CompositeAuth`](crate::CompositeAuth), or with an
    /// [`AuthHook`](crate::AuthHook) of your own.
    pub fn with_auth(mut self, auth: impl Into<Auth>) -> Self {
        self.auth = Some(auth.into());
        self
    }

    /// The documents' name of [`with_auth`](Self::with_auth).
    pub fn with_auth_hook(self, auth: impl Into<Auth>) -> Self {
        self.with_auth(auth)
    }

    /// Sends an API key in the header `X-API-Key`, besides other authentication. The key must be printable
    /// ASCII and not empty.
    ///
    /// ```
    /// use requestforge::HttpClientConfigBuilder;
    ///
    /// let config = HttpClientConfigBuilder::new()
    ///     .with_base_url("https://api.example.com")
    ///     .with_api_key("your-api-key") // X-API-Key: your-api-key
    ///     .build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    pub fn with_api_key(mut self, key: impl Into<Secret>) -> Self {
        self.api_key = Some(ApiKeyAuth::new(key));
        self
    }

    /// Sends an API key in the header of this name.
    ///
    /// ```
    /// use requestforge::HttpClientConfigBuilder;
    ///
    /// let config = HttpClientConfigBuilder::new()
    ///     .with_base_url("https://api.example.com")
    ///     .with_api_key_header("your-api-key", "Ocp-Apim-Subscription-Key")
    ///     .build()?;
    /// # Ok::<_, requestforge::HttpClientError>(())
    /// ```
    #[doc(alias = "with_api_key_auth")]
    pub fn with_api_key_header(mut self, key: impl Into<Secret>, header_name: &str) -> Self {
        self.api_key = Some(ApiKeyAuth::new(key).header_name(header_name));
        self
    }

    /// Accepts that the client's credentials go over plain `http` to other machines, so that others on the
    /// network path can read them. The setting only silences the warning that
    /// [`build`](HttpClientConfigBuilder::build) logs.
    pub fn with_plain_http_credentials(mut self) -> Self {
        self.settings.plain_http_credentials = true;
        self
    }

    /// Adds an origin (scheme, host, port of this URL) that may see the client's credentials.
    pub fn with_credential_origin(mut self, url: impl Into<String>) -> Self {
        self.credential_origins.push(url.into());
        self
    }
}
