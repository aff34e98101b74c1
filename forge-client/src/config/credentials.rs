//! Settings that say who sends.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{ConfigError, Secret};
use http::HeaderName;
use zeroize::Zeroizing;

use super::HttpClientConfigBuilder;
use super::settings::Authorization;
use crate::auth::TokenAuth;

impl<T> HttpClientConfigBuilder<T> {
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

    fn with_authorization(mut self, field: &'static str, value: Secret) -> Self {
        match value.into_header_value() {
            Ok(value) => self.settings.authorization = Some(Authorization::Fixed(value)),
            Err(error) => {
                self.refuse(ConfigError::new(field, "a value that fits into a header").with_source(error));
            }
        }
        self
    }
}
