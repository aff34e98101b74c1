use std::fmt;
use std::sync::Arc;

use std::sync::Mutex;

use forge_core::{CacheKey, Clock, ConfigError, Secret, SecretSource, SystemClock, check_service_name};
use reqwest::ClientBuilder;

use super::client_auth::ClientAuth;
use super::credential_text::{check_known, check_user_text};
use super::query::{self, SecretQuery};
use super::{AuthMethod, ClientCredentialsGrant, Grant, OAuth2TokenProvider};
use crate::{HttpTransport, TokenEndpoint, TokenTransport};

/// Settings of an [`OAuth2TokenProvider`].
///
/// | setting | default |
/// | --- | --- |
/// | [`service_name`](Self::service_name) | the host of the token URL |
/// | [`scope`](Self::scope) | none: the server grants its default scope |
/// | [`scope_on_refresh`](Self::scope_on_refresh) | off: a refresh keeps the granted scope |
/// | [`auth_method`](Self::auth_method) | [`AuthMethod::Body`] |
/// | [`extra_param`](Self::extra_param) | none |
/// | [`query_param`](Self::query_param), [`secret_query_param`](Self::secret_query_param) | none |
/// | [`key_part`](Self::key_part) | none |
/// | [`http`](Self::http), [`transport`](Self::transport) | at most 10 s for a call, 5 s of them for connecting |
/// | [`clock`](Self::clock) | the machine's clock |
#[must_use]
pub struct OAuth2TokenProviderBuilder<G> {
    token_url: String,
    client_id: String,
    client_secret: SecretSource,
    service_name: Option<String>,
    scope: Option<String>,
    is_scope_sent_on_refresh: bool,
    extra_params: Vec<(String, String)>,
    query_params: Vec<(String, String)>,
    secret_query: SecretQuery,
    key_parts: Vec<(String, String)>,
    auth_method: AuthMethod,
    plain_http: bool,
    transport: Arc<dyn TokenTransport>,
    clock: Arc<dyn Clock>,
    grant: G,
}

impl OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
    /// The value of `grant_type`, for servers that have another name for this grant. Default: `client_credentials`.
    pub fn grant_type(mut self, grant_type: impl Into<String>) -> Self {
        self.grant.grant_type = grant_type.into();
        self
    }
}

impl<G: Grant> OAuth2TokenProviderBuilder<G> {
    pub(super) fn new(token_url: String, client_id: String, client_secret: SecretSource, grant: G) -> Self {
        Self {
            token_url,
            client_id,
            client_secret,
            service_name: None,
            scope: None,
            is_scope_sent_on_refresh: false,
            extra_params: Vec::new(),
            query_params: Vec::new(),
            secret_query: SecretQuery::default(),
            key_parts: Vec::new(),
            auth_method: AuthMethod::default(),
            plain_http: false,
            transport: Arc::new(HttpTransport::shared()),
            clock: Arc::new(SystemClock),
            grant,
        }
    }

    /// The name of the service in errors, logs and the cache key. It must not contain a `:`, except for an IPv6 address in
    /// brackets. Default: the host of the token URL.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// The scope to ask for: words separated by spaces (RFC 6749 3.3).
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sends the [`scope`](Self::scope) in refresh requests too, for servers that require it. RFC 6749
    /// section 6 makes the scope of a refresh request optional, and forbids to ask for more than was granted.
    /// This setting is not part of the cache key.
    pub fn scope_on_refresh(mut self) -> Self {
        self.is_scope_sent_on_refresh = true;
        self
    }

    /// Adds a parameter to each token request, such as `audience`, or `resource` (RFC 8707). A name may occur several times.
    /// Parameters are part of the cache key, so do not put a secret here.
    pub fn extra_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra_params.push((name.into(), value.into()));
        self
    }

    /// Adds a public parameter to the query of the token URL. Like the URL, the parameter is part of the
    /// cache key, and servers log it.
    pub fn query_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query_params.push((name.into(), value.into()));
        self
    }

    /// Adds a secret to the query of the token URL, for endpoints that want an API key there. The provider
    /// reads the secret before each call and masks it in errors. The secret is not part of the cache key: if
    /// it decides which token the endpoint issues, tell the providers apart with
    /// [`key_part`](Self::key_part). Note that servers and proxies log queries.
    ///
    /// ```
    /// use requestforge::{ClientCredentialsTokenProvider, SecretSource};
    ///
    /// let provider = ClientCredentialsTokenProvider::builder("https://auth.example.com/token", "id", "secret")
    ///     .query_param("tenant", "acme")
    ///     .secret_query_param("key", SecretSource::file("/run/secrets/api-key"))
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn secret_query_param(mut self, name: impl Into<String>, value: impl Into<SecretSource>) -> Self {
        self.secret_query.push(name.into(), value.into());
        self
    }

    /// Adds a named value to the cache key, for a difference between providers that only a closure or a
    /// transport knows. The value is not sent. Do not pass a secret: the key contains a hash of the value.
    ///
    /// ```
    /// # #[cfg(feature = "rustls")]
    /// # fn provider(identity: requestforge::reqwest::Identity) -> Result<(), requestforge::ConfigError> {
    /// use requestforge::ClientCredentialsTokenProvider;
    ///
    /// // The tokens are bound to the certificate (RFC 8705), and other replicas may have another one.
    /// let provider = ClientCredentialsTokenProvider::builder("https://auth.example.com/token", "id", "secret")
    ///     .http(move |http| http.identity(identity.clone()))
    ///     .key_part("certificate", "shop-2026")
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn key_part(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.key_parts.push((name.into(), value.into()));
        self
    }

    /// How the client authenticates.
    pub fn auth_method(mut self, method: AuthMethod) -> Self {
        self.auth_method = method;
        self
    }

    /// Accepts a token URL with plain `http` that is not on this machine. Attack: everybody who listens on the network then
    /// reads the client's secret and the tokens.
    pub fn danger_accept_plain_http(mut self, accept: bool) -> Self {
        self.plain_http = accept;
        self
    }

    /// Sets up the HTTP client for token calls: a proxy, certificates, a client identity, time-outs. Redirects, retries and
    /// the `Referer` header stay off; see [`HttpTransport::with`].
    ///
    /// These settings are not part of the cache key. Two providers that differ only in their client
    /// certificate therefore share one token in a shared storage, unless [`key_part`](Self::key_part) tells
    /// them apart.
    pub fn http(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.transport = Arc::new(HttpTransport::with(configure));
        self
    }

    /// Uses another transport for token calls, or one that several providers share. The transport is not part of the cache
    /// key. If it decides which token the endpoint issues, as a client certificate does, tell the providers apart with
    /// [`key_part`](Self::key_part).
    pub fn transport(mut self, transport: impl TokenTransport + 'static) -> Self {
        self.transport = Arc::new(transport);
        self
    }

    /// The clock by which the lifetimes of tokens count. Default: the machine's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Builds the provider.
    ///
    /// # Errors
    ///
    /// A setting is invalid. The error names the field:
    ///
    /// - a `token_url` that is neither https nor loopback;
    /// - a `query_param`, or a parameter in the query of `token_url`, that
    ///   [is named like a secret](forge_core::looks_like_credential_name);
    /// - a `query_param` or `secret_query_param` without a name, or a secret that is empty;
    /// - an empty `client_id`, `client_secret`, `service_name` or `grant_type`;
    /// - a `service_name` with a `:`;
    /// - a control character in `client_id`, `client_secret`, `username`, `password` or a
    ///   `secret_query_param` (RFC 6749 A.1, A.2, A.15, A.16); if the provider reads the secret only at the call,
    ///   that call fails;
    /// - an `extra_param` that the grant sets itself;
    /// - `http` settings that `reqwest` rejects.
    pub fn build(self) -> Result<OAuth2TokenProvider<G>, ConfigError> {
        let endpoint = if self.plain_http {
            TokenEndpoint::accepting_plain_http(&self.token_url)?
        } else {
            TokenEndpoint::new(&self.token_url)?
        };
        query::check(&endpoint, &self.query_params, &self.secret_query)?;
        let endpoint = endpoint.with_query_pairs(self.query_params);
        let service_name =
            self.service_name.unwrap_or_else(|| endpoint.url().host_str().unwrap_or_default().to_owned());
        for (field, value) in [
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.value().map_or("(read later)", Secret::expose)),
            (
                self.grant.secret_field(),
                self.grant.secret().and_then(SecretSource::value).map_or("(read later)", Secret::expose),
            ),
            ("service_name", &service_name),
            ("grant_type", self.grant.grant_type()),
        ] {
            if value.is_empty() {
                return Err(ConfigError::new(field, "a value that is not empty"));
            }
        }
        check_service_name("service_name", &service_name)?;
        check_user_text("username", self.grant.subject().unwrap_or_default())?;
        if let Some(secret) = self.grant.secret() {
            check_known(self.grant.secret_field(), secret, check_user_text)?;
        }
        if let Some((name, _)) =
            self.extra_params.iter().find(|(name, _)| RESERVED_PARAMS.contains(&name.as_str()))
        {
            let expected = format!("a name other than `{name}`, which has a setting of its own");
            return Err(ConfigError::new("extra_param", expected));
        }

        let mut extra_params = self.extra_params.clone();
        extra_params.sort_unstable();
        let mut key_parts = self.key_parts;
        key_parts.sort_unstable();
        // Order: the key parts come before `endpoint`, which is the first part of a key without key parts. So a key with
        // key parts never equals one without.
        let mut key = key_parts.iter().fold(CacheKey::new(&service_name), |key, (name, value)| {
            key.part("key_part", name).part("value", value)
        });
        key = key
            .part("endpoint", endpoint.url().as_str())
            .part("client", &self.client_id)
            .part("grant", self.grant.grant_type())
            .part("subject", self.grant.subject().unwrap_or_default())
            .scope(self.scope.as_deref());
        for (name, value) in &extra_params {
            key = key.part(name, value);
        }

        self.transport.prepare(&endpoint)?;
        Ok(OAuth2TokenProvider {
            client: ClientAuth::new(self.client_id, self.client_secret, self.auth_method)?,
            cache_key: key.to_string(),
            refused: Mutex::new(None),
            service_name,
            endpoint,
            secret_query: self.secret_query,
            scope: self.scope,
            is_scope_sent_on_refresh: self.is_scope_sent_on_refresh,
            extra_params: self.extra_params,
            grant: self.grant,
            transport: self.transport,
            clock: self.clock,
        })
    }
}

/// The parameters that the provider sets itself.
const RESERVED_PARAMS: [&str; 7] =
    ["grant_type", "client_id", "client_secret", "scope", "username", "password", "refresh_token"];

impl<G> fmt::Debug for OAuth2TokenProviderBuilder<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2TokenProviderBuilder")
            .field("service_name", &self.service_name)
            .field("auth_method", &self.auth_method)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use forge_core::TokenProvider;

    use super::*;
    use crate::{ClientCredentialsTokenProvider, PasswordGrantTokenProvider};

    const URL: &str = "https://auth.example.com/token";

    fn client(id: &str) -> OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
        ClientCredentialsTokenProvider::builder(URL, id, "secret").service_name("crm")
    }

    #[test]
    fn inv17_all_that_makes_a_token_different_makes_the_key_different() {
        let key = |builder: OAuth2TokenProviderBuilder<ClientCredentialsGrant>| {
            builder.build().unwrap().cache_key()
        };
        let base = key(client("a").scope("read write"));
        assert!(base.starts_with("auth_token:crm:"));
        assert_eq!(base, key(client("a").scope("write read")));
        let others = [
            key(client("b").scope("read write")),
            key(client("a").scope("read")),
            key(client("a").scope("read write").extra_param("audience", "x")),
            key(client("a").scope("read write").grant_type("other")),
            key(ClientCredentialsTokenProvider::builder("https://b.example.com/t", "a", "s")
                .service_name("crm")
                .scope("read write")),
            PasswordGrantTokenProvider::builder(URL, "a", "secret", "user", "password")
                .service_name("crm")
                .scope("read write")
                .build()
                .unwrap()
                .cache_key(),
        ];
        let distinct: std::collections::HashSet<_> = others.iter().chain([&base]).collect();
        assert_eq!(distinct.len(), others.len() + 1);
    }

    #[test]
    fn inv26_the_host_of_a_token_url_is_a_service_name_also_where_it_is_an_address() {
        for (url, service) in [
            ("https://auth.example.com:8443/token", "auth.example.com"),
            ("http://[::1]:8080/token", "[::1]"),
            ("http://127.0.0.1:8080/token", "127.0.0.1"),
        ] {
            let key = ClientCredentialsTokenProvider::builder(url, "a", "s").build().unwrap().cache_key();
            assert!(key.starts_with(&format!("auth_token:{service}:")), "{key}");
        }
    }

    #[test]
    fn inv17_the_key_holds_no_secret_not_even_hashed() {
        let key = |secret: &str, password: &str| {
            PasswordGrantTokenProvider::builder(URL, "a", secret, "user", password)
                .build()
                .unwrap()
                .cache_key()
        };
        assert_eq!(key("one", "two"), key("three", "four"));
    }

    #[test]
    fn what_cannot_be_is_named_and_not_echoed() {
        let fields = [
            (client("").build().err(), "client_id"),
            (client("a").service_name("").build().err(), "service_name"),
            (client("a").service_name("canary:eu").build().err(), "service_name"),
            (client("a").grant_type("").build().err(), "grant_type"),
            (client("a").extra_param("client_secret", "canary").build().err(), "extra_param"),
            (ClientCredentialsTokenProvider::builder(URL, "a", "").build().err(), "client_secret"),
            (
                ClientCredentialsTokenProvider::builder("http://h/?canary", "a", "canary").build().err(),
                "token_url",
            ),
            (client("a").http(|builder| builder.user_agent("canary\n")).build().err(), "http"),
        ];
        for (error, field) in fields {
            let error = error.unwrap();
            assert_eq!(error.field(), field);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        let shown = format!("{:?} {:?}", client("a"), client("a").build().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
