use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use forge_core::{
    AuthenticationError, ConfigError, Credential, IntoTokenSource, TokenId, TokenSource, check_cookie_name,
};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::exclusions::{ExcludedPaths, Exclusions};
use super::{AuthRequest, AuthRetryStrategy, SimpleAuthRetryStrategy};

/// Authenticates requests with tokens from a source, and says what happens after a server rejects one.
///
/// | setting | default |
/// | --- | --- |
/// | [`excluded_paths`](Self::excluded_paths) | none |
/// | [`excluded_path_patterns`](Self::excluded_path_patterns) | none |
/// | [`auth_retry_strategy`](Self::auth_retry_strategy) | [`SimpleAuthRetryStrategy`]: once, at once |
/// | [`auth_header_name`](Self::auth_header_name) | `Authorization` |
/// | [`auth_header_prefix`](Self::auth_header_prefix) | the token's type, mostly `Bearer` |
/// | [`auth_cookie`](Self::auth_cookie) | none: a header carries the token |
///
/// ```
/// use requestforge::{SimpleAuthRetryStrategy, TokenAuth};
/// use requestforge::{StaticTokenSource, TokenData};
///
/// let auth = TokenAuth::new(StaticTokenSource::new(TokenData::new("abc"))?)
///     .excluded_paths(["/health", "/status"])
///     .excluded_path_patterns(["/public/*", "*/health"])
///     .auth_retry_strategy(SimpleAuthRetryStrategy::new().max_retries(2));
/// # Ok::<_, requestforge::AuthenticationError>(())
/// ```
#[doc(alias = "TokenAuthHook")]
#[derive(Clone)]
#[must_use]
pub struct TokenAuth {
    source: Arc<dyn TokenSource>,
    excluded: ExcludedPaths,
    strategy: Arc<dyn AuthRetryStrategy>,
    header_name: Option<Result<HeaderName, ConfigError>>,
    header_prefix: Option<String>,
    cookie: Option<String>,
}

impl TokenAuth {
    /// Takes tokens from this source: a `TokenManager`, any other [`TokenSource`], or a provider of this
    /// project, which gets a manager of its own. For a provider of your own, pass
    /// `TokenManager::new(provider)`.
    pub fn new(source: impl IntoTokenSource) -> Self {
        Self {
            source: source.into_token_source(),
            excluded: ExcludedPaths::default(),
            strategy: Arc::new(SimpleAuthRetryStrategy::new()),
            header_name: None,
            header_prefix: None,
            cookie: None,
        }
    }

    /// Paths to which requests go without a token. The client compares the path that it really sends: after
    /// joining, the base URL's own path included, and after `url` has removed dot segments. Queries and fragments
    /// make no difference. The client decodes nothing, so an encoded path and a decoded one are two paths. Only
    /// the case of an escape makes no difference (RFC 3986 6.2.2.1).
    ///
    /// When in doubt the token goes along: this server may see it anyway, while a request that lacks it
    /// fails. So a [pattern](Self::excluded_path_patterns) does not hold for a path in which some servers
    /// would find a `..`, and others would not.
    ///
    /// | excluded | asked for, below `https://api.example.com` | path that is sent | with token |
    /// | --- | --- | --- | --- |
    /// | `/health` | `/health` | `/health` | no |
    /// | `/health` | `https://api.example.com:443/health` | `/health` | no |
    /// | `/health` | `/health?verbose=1` | `/health` | no |
    /// | `/health` | `/health#section` | `/health` | no |
    /// | `/health` | `/users?next=/health` | `/users` | yes |
    /// | `/health` | `/users#/health` | `/users` | yes |
    /// | `/health` | `/healthy` | `/healthy` | yes |
    /// | `/health` | `/a/health` | `/a/health` | yes |
    /// | `/health` | `/Health` | `/Health` | yes |
    /// | `/health` | `/health/` | `/health/` | yes |
    /// | `/health` | `/health/x` | `/health/x` | yes |
    /// | `/health` | `//health` | `//health` | yes |
    /// | `/health` | `/health//` | `/health//` | yes |
    /// | `/health` | `\health` | `//health` | yes |
    /// | `/health` | `/a\..\health` | `/health` | no |
    /// | `/health` | `/a/../health` | `/health` | no |
    /// | `/health` | `/./health` | `/health` | no |
    /// | `/health` | `/../health` | `/health` | no |
    /// | `/health` | `/health/../users` | `/users` | yes |
    /// | `/health` | `/a/%2e%2e/health` | `/health` | no |
    /// | `/health` | `/a/.%2E/health` | `/health` | no |
    /// | `/health` | `/health/%2e%2e/users` | `/users` | yes |
    /// | `/health` | `/a/..%2fhealth` | `/a/..%2fhealth` | yes |
    /// | `/health` | `/health%2f..%2fusers` | `/health%2f..%2fusers` | yes |
    /// | `/health` | `/%2fhealth` | `/%2fhealth` | yes |
    /// | `/health` | `/%68ealth` | `/%68ealth` | yes |
    /// | `/health` | `/health%20` | `/health%20` | yes |
    /// | `/health` | `/health%00` | `/health%00` | yes |
    /// | `/health` | `/health%3fx` | `/health%3fx` | yes |
    /// | `/health` | `/health;v=1` | `/health;v=1` | yes |
    /// | `/health` | `/health/..;/users` | `/health/..;/users` | yes |
    /// | `/a/../health` | `/health` | `/health` | no |
    /// | `/café` | `/caf%C3%A9` | `/caf%C3%A9` | no |
    /// | `/café` | `/caf%c3%a9` | `/caf%c3%a9` | no |
    /// | `/caf%c3%a9` | `/café` | `/caf%C3%A9` | no |
    /// | `/health` | `/health` below `/v1` | `/v1/health` | yes |
    /// | `/v1/health` | `/health` below `/v1` | `/v1/health` | no |
    /// | `/health` | `/../health` below `/v1` | `/health` | no |
    /// | `*/health` | `/a/b/health` | `/a/b/health` | no |
    /// | `*/health` | `/health/x` | `/health/x` | yes |
    /// | `/public/*` | `/public/a/b` | `/public/a/b` | no |
    /// | `/public/*` | `/public` | `/public` | yes |
    /// | `/public/*` | `/publicity` | `/publicity` | yes |
    /// | `/public/*` | `/public//a` | `/public//a` | no |
    /// | `/public/*` | `/public/../users` | `/users` | yes |
    /// | `/public/*` | `/public/%2e%2e/users` | `/users` | yes |
    /// | `/public/*` | `/public/a%2fb` | `/public/a%2fb` | no |
    /// | `/public/*` | `/public/..%2fusers` | `/public/..%2fusers` | yes |
    /// | `/public/*` | `/public/%2E%2e%5Cusers` | `/public/%2E%2e%5Cusers` | yes |
    /// | `/public/*` | `/public/..;v=1/users` | `/public/..;v=1/users` | yes |
    /// | `/café/*` | `/café/x` | `/caf%C3%A9/x` | no |
    /// | `/caf%c3%a9/*` | `/café/x` | `/caf%C3%A9/x` | no |
    /// | `/a b/*` | `/a b/c` | `/a%20b/c` | no |
    pub fn excluded_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.excluded.add_paths(paths);
        self
    }

    /// Patterns of such paths, shell-style: `*` matches anything, slashes included, `?` matches one character of
    /// the path as it is sent, `[ab]` one of these, `{ab,cd}` one of these words, and a character after
    /// `\` matches itself. All other characters are encoded as in a path: `/café/*` means
    /// `/caf%C3%A9/*`.
    ///
    /// Building a client logs one warning if some paths or patterns match no path that the client sends:
    ///
    /// - a path that is not below the base URL's path, if there is no other
    ///   [credential origin](crate::HttpClientConfigBuilder::with_credential_origin);
    /// - a pattern with a query (`/search?x=*`), a fragment or a dot segment;
    /// - a pattern with brackets around nothing but characters that a URL encodes (`[é]`).
    pub fn excluded_path_patterns<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.excluded.add_patterns(patterns);
        self
    }

    /// Decides about replays after a 401.
    pub fn auth_retry_strategy(mut self, strategy: impl AuthRetryStrategy + 'static) -> Self {
        self.strategy = Arc::new(strategy);
        self
    }

    /// The header that carries the token.
    pub fn auth_header_name(mut self, name: &str) -> Self {
        let name = HeaderName::try_from(name)
            .map_err(|error| ConfigError::new("auth_header_name", "a header name").with_source(error));
        self.header_name = Some(name);
        self
    }

    /// The text before the token in the header. An empty prefix: only the token.
    pub fn auth_header_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.header_prefix = Some(prefix.into());
        self
    }

    /// Sends the token as the cookie of this name (RFC 6265 4.2): `Cookie: JSESSIONID=…`. A step of a pipeline
    /// reads such tokens with `HeaderTokenFetcher::builder(…).cookie("JSESSIONID")`. Together with
    /// [`auth_header_name`](Self::auth_header_name) or [`auth_header_prefix`](Self::auth_header_prefix) the
    /// setting is an error.
    ///
    /// A request that has a `Cookie` header already, its own or the client's default, keeps that header and does
    /// not get the token. The same is true of every header that carries a credential.
    ///
    /// ```
    /// use requestforge::{HttpClient, TokenAuth};
    ///
    /// # fn run(sessions: impl requestforge::TokenSource + 'static) -> Result<(), requestforge::HttpClientError> {
    /// let auth = TokenAuth::new(sessions).auth_cookie("JSESSIONID");
    /// let client = HttpClient::builder("https://api.example.com").with_token_auth(auth).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn auth_cookie(mut self, name: impl Into<String>) -> Self {
        self.cookie = Some(name.into());
        self
    }

    pub(crate) fn build(self) -> Result<CheckedTokenAuth, ConfigError> {
        let header = match self.cookie {
            Some(_) if self.header_name.is_some() || self.header_prefix.is_some() => {
                let expected = "a client that sets neither `auth_header_name` nor `auth_header_prefix`";
                return Err(ConfigError::new("auth_cookie", expected));
            }
            Some(name) => TokenHeader::cookie(name)?,
            None => TokenHeader::new(self.header_name.unwrap_or(Ok(AUTHORIZATION))?, self.header_prefix)?,
        };
        Ok(CheckedTokenAuth {
            source: self.source,
            exclusions: self.excluded.build()?,
            strategy: self.strategy,
            header,
        })
    }
}

/// A source alone, if no settings are needed.
impl<S: IntoTokenSource> From<S> for TokenAuth {
    fn from(source: S) -> Self {
        Self::new(source)
    }
}

impl fmt::Debug for TokenAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuth")
            .field("excluded", &self.excluded)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

/// A [`TokenAuth`] whose settings were checked.
pub(crate) struct CheckedTokenAuth {
    source: Arc<dyn TokenSource>,
    exclusions: Exclusions,
    strategy: Arc<dyn AuthRetryStrategy>,
    header: TokenHeader,
}

impl CheckedTokenAuth {
    pub(crate) fn source(&self) -> &dyn TokenSource {
        &*self.source
    }

    pub(super) fn strategy(&self) -> &dyn AuthRetryStrategy {
        &*self.strategy
    }

    pub(crate) fn header_name(&self) -> &HeaderName {
        &self.header.name
    }

    pub(super) fn exclusions(&self) -> &Exclusions {
        &self.exclusions
    }

    pub(crate) fn apply(
        &self,
        credential: &Credential,
        request: &AuthRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthenticationError> {
        match &self.header.form {
            TokenForm::TokenType if self.header.name == AUTHORIZATION => {
                credential.apply(request.method, request.url.as_str(), headers)?;
            }
            TokenForm::TokenType => {
                credential.check_bearer()?;
                headers.insert(&self.header.name, credential.header_value().clone());
            }
            TokenForm::Prefix(prefix) => {
                let value = self.header.value(credential, || credential.header_value_with_prefix(prefix))?;
                headers.insert(&self.header.name, value);
            }
            TokenForm::Cookie(name) => {
                let value = self.header.value(credential, || credential.cookie_header_value(name))?;
                headers.insert(&self.header.name, value);
            }
        }
        Ok(())
    }
}

/// The header that carries the token, with the value that was formatted last.
struct TokenHeader {
    name: HeaderName,
    form: TokenForm,
    last_formatted: ArcSwapOption<(TokenId, HeaderValue)>,
}

/// The form of the header that carries the token.
enum TokenForm {
    /// The token's type, then the token.
    TokenType,
    /// This prefix, then the token.
    Prefix(String),
    /// A cookie of this name, whose value is the token.
    Cookie(String),
}

impl TokenHeader {
    fn new(name: HeaderName, prefix: Option<String>) -> Result<Self, ConfigError> {
        if let Some(prefix) = &prefix {
            HeaderValue::try_from(prefix).map_err(|error| {
                ConfigError::new("auth_header_prefix", "a value that fits into a header").with_source(error)
            })?;
        }
        let form = prefix.map_or(TokenForm::TokenType, TokenForm::Prefix);
        Ok(Self { name, form, last_formatted: ArcSwapOption::empty() })
    }

    fn cookie(name: String) -> Result<Self, ConfigError> {
        check_cookie_name("auth_cookie", &name)?;
        Ok(Self { name: COOKIE, form: TokenForm::Cookie(name), last_formatted: ArcSwapOption::empty() })
    }

    /// The value that was formatted for this credential before, or a new one.
    fn value(
        &self,
        credential: &Credential,
        make: impl FnOnce() -> Result<HeaderValue, AuthenticationError>,
    ) -> Result<HeaderValue, AuthenticationError> {
        if let Some((id, value)) = self.last_formatted.load().as_deref()
            && *id == credential.id()
        {
            return Ok(value.clone());
        }
        let value = make()?;
        // Race: two calls with different credentials may overwrite each other's value here. Each still returns
        // its own, and a later call compares the id.
        self.last_formatted.store(Some(Arc::new((credential.id(), value.clone()))));
        Ok(value)
    }
}
