//! Providers that follow RFC 6749: one struct for the common parts of all grants, and one type for each grant.

mod builder;
mod client_auth;
mod credential_text;
mod grant;
mod query;
#[cfg(test)]
mod tests;

use std::fmt;
use std::iter;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use forge_core::{
    AuthenticationError, Clock, ConfigError, IntoTokenSource, OAuthErrorCode, ResponseFields, Secret,
    SecretSource, TokenData, TokenProvider, TokenSource, async_trait,
};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use url::form_urlencoded;
use zeroize::Zeroizing;

pub use builder::OAuth2TokenProviderBuilder;
pub use client_auth::AuthMethod;
pub use grant::{ClientCredentialsGrant, Grant, PasswordGrant};

use crate::rt;
use crate::{TokenAttempt, TokenEndpoint, TokenManager, TokenRequest, TokenTransport, call_with_one_retry};
use client_auth::ClientAuth;
use credential_text::{check_client_text, check_user_text, invalid_credential_error};
use query::SecretQuery;

/// Gets tokens by the client credentials grant (RFC 6749 4.4), for a service that acts for itself.
pub type ClientCredentialsTokenProvider = OAuth2TokenProvider<ClientCredentialsGrant>;

/// Gets tokens by the password grant (RFC 6749 4.3), for servers that offer no better grant.
pub type PasswordGrantTokenProvider = OAuth2TokenProvider<PasswordGrant>;

/// Gets tokens by a grant of RFC 6749, and renews them with a refresh token (RFC 6749 6) if the server gives one. It has
/// the parts that all grants share: endpoint, client and scope.
///
/// Build one with [`ClientCredentialsTokenProvider::builder`] or [`PasswordGrantTokenProvider::builder`].
///
/// This table shows how the provider treats a token endpoint's response: it accepts the token, or returns an error of this
/// [`AuthenticationErrorKind`].
///
/// | response | outcome |
/// | --- | --- |
/// | `access_token` of printable ASCII | accepted |
/// | `access_token` absent, `null`, empty, not a string, or with other characters | `InvalidResponse` |
/// | `token_type` absent, `null`, empty, `Bearer` in any case, `BearerToken` | accepted as `Bearer` |
/// | another `token_type` (`mac`, `DPoP`), or one that is not a string | `InvalidResponse` |
/// | `expires_in` absent or `null` | accepted: the token does not expire |
/// | `expires_in` of `3600`, `"3600"`, `1e3`, `3600.5`, up to 100 years | accepted |
/// | `expires_in` of `0`, `-1`, over 100 years, `NaN`, `""`, `"soon"`, a list, a boolean, an object | `InvalidResponse` |
/// | `refresh_token` absent, `null` or empty | accepted: there is no refresh token |
/// | `refresh_token` not a string, `scope` neither a string nor a list of strings | `InvalidResponse` |
/// | a key given twice | accepted: the last one counts |
/// | any 2xx status, any `Content-Type`, a byte order mark | accepted if the JSON contains a valid token |
/// | an `error` code, with any status and any other fields | `Refused` |
/// | `error` absent, `null`, empty or not a string | accepted if there is a valid token, else as below |
/// | a 2xx without JSON (empty, 204, HTML, a form, nested over 127 deep), or JSON that is not an object | `InvalidResponse` |
/// | any other status, with any body, without an `error` code | `Status` |
/// | a redirect | `Status`; the provider does not follow it |
/// | a body over 1 MiB after decompression, or a body without an end | `InvalidResponse`; the provider reads 1 MiB at most |
/// | broken HTTP or compression, a head over the limits of `hyper`, a connection lost in the body | `UnreadableResponse` |
/// | no connection, no TLS, a connection that ended before the whole head of the response | `Connect` |
/// | a response that takes longer as a whole than the call's time-out | `Timeout` |
///
/// The provider repeats a call without a refresh token once if the call ended without a response, or failed
/// fast and transiently: see [`call_with_one_retry`]. It sends a call with a refresh token only once, over a new
/// connection. A token endpoint that is down thus receives two calls for a fetch and one for a refresh.
///
/// An error shows at most the error code and the `error_description` of a response. After an error the manager caches
/// nothing.
///
/// [`AuthenticationErrorKind`]: forge_core::AuthenticationErrorKind
#[doc(alias = "BaseOAuth2TokenProvider")]
pub struct OAuth2TokenProvider<G> {
    service_name: String,
    endpoint: TokenEndpoint,
    client: ClientAuth,
    /// The secrets in the query of each call. They are not part of the endpoint or of the cache key.
    secret_query: SecretQuery,
    scope: Option<String>,
    is_scope_sent_on_refresh: bool,
    extra_params: Vec<(String, String)>,
    grant: G,
    transport: Arc<dyn TokenTransport>,
    clock: Arc<dyn Clock>,
    cache_key: String,
    /// The secrets that the server refused last.
    refused: Mutex<Option<Secrets>>,
}

impl ClientCredentialsTokenProvider {
    /// A builder for this client. All other settings have defaults.
    ///
    /// ```
    /// use requestforge::{AuthMethod, ClientCredentialsTokenProvider};
    ///
    /// let provider = ClientCredentialsTokenProvider::builder(
    ///     "https://auth.example.com/oauth/token",
    ///     "your-client-id",
    ///     "your-client-secret",
    /// )
    /// .service_name("example-api")
    /// .scope("read write")
    /// .auth_method(AuthMethod::Header)
    /// .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<SecretSource>,
    ) -> OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
        OAuth2TokenProviderBuilder::new(
            token_url.into(),
            client_id.into(),
            client_secret.into(),
            ClientCredentialsGrant::new(),
        )
    }
}

impl PasswordGrantTokenProvider {
    /// A builder for this client and this user. All other settings have defaults.
    ///
    /// ```
    /// use requestforge::PasswordGrantTokenProvider;
    ///
    /// let provider = PasswordGrantTokenProvider::builder(
    ///     "https://auth.example.com/oauth/token",
    ///     "your-client-id",
    ///     "your-client-secret",
    ///     "user@example.com",
    ///     "user-password",
    /// )
    /// .scope("profile email")
    /// .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn builder(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<SecretSource>,
        username: impl Into<String>,
        password: impl Into<SecretSource>,
    ) -> OAuth2TokenProviderBuilder<PasswordGrant> {
        let grant = PasswordGrant::new(username.into(), password.into());
        OAuth2TokenProviderBuilder::new(token_url.into(), client_id.into(), client_secret.into(), grant)
    }
}

/// The secrets of one call, read before it.
struct Secrets {
    client: Secret,
    /// The name of the field in errors, and the secret of the grant.
    grant: Option<(&'static str, Secret)>,
    query: Vec<(String, Secret)>,
}

impl Secrets {
    fn equals(&self, others: &Self) -> bool {
        self.all().eq(others.all())
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_client_text("client_secret", self.client.expose())?;
        self.grant.iter().try_for_each(|(field, secret)| check_user_text(field, secret.expose()))?;
        self.query.iter().try_for_each(|(_, secret)| check_client_text("secret_query_param", secret.expose()))
    }

    /// All secrets, always in the same order.
    fn all(&self) -> impl Iterator<Item = &str> {
        let query = self.query.iter().map(|(_, secret)| secret);
        let grant = self.grant.iter().map(|(_, secret)| secret);
        iter::once(&self.client).chain(grant).chain(query).map(Secret::expose)
    }
}

impl<G: Grant> OAuth2TokenProvider<G> {
    async fn secrets(&self) -> Result<Secrets, AuthenticationError> {
        let client = self.client.secret.read().await?;
        let grant = match self.grant.secret() {
            Some(source) => Some((self.grant.secret_field(), source.read().await?)),
            None => None,
        };
        let query = self.secret_query.read().await?;
        let secrets = Secrets { client, grant, query };
        secrets.check().map_err(|error| invalid_credential_error(&error))?;
        Ok(secrets)
    }

    /// Calls the token endpoint with the current secrets. If the server refuses them, reads them again, and calls once more
    /// if they have changed meanwhile.
    async fn call_with_fresh_secrets(
        &self,
        current: Option<&TokenData>,
    ) -> Result<TokenData, AuthenticationError> {
        let result = self.call_with_repetition(current).await;
        let sends_refresh_token = current.is_some_and(|current| current.refresh_token().is_some());
        // A refresh token goes out again only if the client was refused, and not the token or the server.
        let may_help = |error: &AuthenticationError| {
            error.is_permanent() && (!sends_refresh_token || is_refusal_of_client(error))
        };
        if !result.as_ref().is_err_and(may_help) {
            return result;
        }
        let current_secrets = self.secrets().await?;
        if self.were_refused(&current_secrets) { result } else { self.call_with_repetition(current).await }
    }

    /// Sends a refresh token once. Sends any other call once more if [`call_with_one_retry`] says so.
    async fn call_with_repetition(
        &self,
        current: Option<&TokenData>,
    ) -> Result<TokenData, AuthenticationError> {
        if current.is_some_and(|current| current.refresh_token().is_some()) {
            // The server may have used up the refresh token even if no response arrives. So send it only once.
            return self.send_and_record_refusal(TokenAttempt::only(), current).await;
        }
        // The transport's time-out limits each attempt. The manager's fetch may have less time left.
        call_with_one_retry(rt::time_left(), |attempt| self.send_and_record_refusal(attempt, current)).await
    }

    /// Reads the secrets, sends one request with them, and remembers the secrets if the failure is permanent.
    async fn send_and_record_refusal(
        &self,
        attempt: TokenAttempt,
        current: Option<&TokenData>,
    ) -> Result<TokenData, AuthenticationError> {
        let secrets = self.secrets().await?;
        let result = self.send_once(&secrets, attempt, current).await;
        if result.as_ref().is_err_and(AuthenticationError::is_permanent) {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(secrets);
        }
        result
    }

    fn were_refused(&self, secrets: &Secrets) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().is_some_and(|refused| refused.equals(secrets))
    }

    /// Sends one request with these secrets, and reads the token from its response.
    async fn send_once(
        &self,
        secrets: &Secrets,
        attempt: TokenAttempt,
        current: Option<&TokenData>,
    ) -> Result<TokenData, AuthenticationError> {
        let mut request = self.request(secrets, current.and_then(TokenData::refresh_token))?;
        request.connection = attempt.connection;
        // The lifetime counts from here, so that a slow response does not extend it.
        let sent_at = self.clock.now().wall();
        let response = self.transport.call(request).await?;
        let pair = self.client.basic_pair(&secrets.client)?;
        let mut hidden: Vec<&str> = secrets.all().collect();
        hidden.extend(pair.as_ref().map(Secret::expose));
        hidden.extend(current.map(TokenData::access_token));
        hidden.extend(current.and_then(TokenData::refresh_token));
        // Some users pass a key in the query of the token URL.
        let query: Vec<_> = self.endpoint.possible_secrets().collect();
        hidden.extend(query.iter().map(|value| &**value));
        let token = response.read_token(&ResponseFields::default(), sent_at, &hidden)?;
        // A token of a type that we cannot send must not be used (RFC 6749 7.1).
        if token.token_type() == "Bearer" {
            return Ok(token);
        }
        Err(response.invalid("field `token_type`: expected `Bearer`, found another"))
    }

    fn request(
        &self,
        secrets: &Secrets,
        refresh_token: Option<&str>,
    ) -> Result<TokenRequest, AuthenticationError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        if let Some(refresh_token) = refresh_token {
            form.extend_pairs([("grant_type", "refresh_token"), ("refresh_token", refresh_token)]);
        } else {
            form.append_pair("grant_type", self.grant.grant_type());
            form.extend_pairs(self.grant.form_fields(secrets.grant.as_ref().map(|(_, secret)| secret)));
        }
        if refresh_token.is_none() || self.is_scope_sent_on_refresh {
            form.extend_pairs(self.scope.as_deref().map(|scope| ("scope", scope)));
        }
        form.extend_pairs(&self.extra_params).extend_pairs(self.client.form_fields(&secrets.client));
        let body = Zeroizing::new(form.finish().into_bytes());

        let query = secrets.query.iter().map(|(name, secret)| (name, secret.expose()));
        let endpoint = self.endpoint.with_query_pairs(query);
        let mut request = TokenRequest::post(endpoint, Bytes::from_owner(body));
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.client.set_header(&secrets.client, &mut request.headers)?;
        Ok(request)
    }
}

/// Whether the server has refused the client itself (RFC 6749 5.2). If so, the server may accept another secret.
fn is_refusal_of_client(error: &AuthenticationError) -> bool {
    let is_verdict = error.status().is_some_and(|status| status.is_client_error()) && !error.is_postponed();
    let code = error.oauth_error_code();
    is_verdict
        && (error.status() == Some(StatusCode::UNAUTHORIZED) && code.is_none()
            || matches!(code, Some(OAuthErrorCode::InvalidClient | OAuthErrorCode::UnauthorizedClient)))
}

#[async_trait]
impl<G: Grant> TokenProvider for OAuth2TokenProvider<G> {
    fn service_name(&self) -> &str {
        &self.service_name
    }

    fn cache_key(&self) -> String {
        self.cache_key.clone()
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.call_with_fresh_secrets(None).await.map_err(|error| error.or_service_name(&self.service_name))
    }

    /// Renews by the full grant if `current` has no refresh token. If the response contains no new refresh token, the token
    /// keeps the old one (RFC 6749 6).
    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let Some(refresh_token) = current.refresh_token() else { return self.fetch_token().await };
        let renewed = self.call_with_fresh_secrets(Some(current)).await;
        let renewed = renewed.map_err(|error| error.into_refresh().or_service_name(&self.service_name))?;
        Ok(if renewed.refresh_token().is_some() {
            renewed
        } else {
            renewed.with_refresh_token(refresh_token)
        })
    }

    async fn has_new_secrets(&self) -> bool {
        let Ok(secrets) = self.secrets().await else { return false };
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().is_some_and(|refused| !refused.equals(&secrets))
    }
}

/// Converts into a [`TokenManager`] that keeps the token in the process.
impl<G: Grant> IntoTokenSource for OAuth2TokenProvider<G> {
    fn into_token_source(self) -> Arc<dyn TokenSource> {
        Arc::new(TokenManager::new(self))
    }
}

impl<G> fmt::Debug for OAuth2TokenProvider<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2TokenProvider")
            .field("service_name", &self.service_name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
