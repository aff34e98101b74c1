mod body;
mod checks;
mod header;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{Clock, ConfigError, FetchContext, SystemClock, check_key_word, check_positive};
use forge_token::reqwest::ClientBuilder;
use forge_token::{HttpTransport, TokenTransport};

use super::location::TokenLocation;
use super::{ContentType, FieldsFunction, HttpMethod, HttpTokenFetcher, RequestFields, RequestValue};

/// Settings of an [`HttpTokenFetcher`].
///
/// | setting | default |
/// | --- | --- |
/// | [`method`](Self::method) | [`HttpMethod::Post`] |
/// | [`content_type`](Self::content_type) | [`ContentType::Form`] |
/// | [`request_headers`](Self::request_headers), [`request_headers_with`](Self::request_headers_with) | none |
/// | [`request_data`](Self::request_data), [`request_data_with`](Self::request_data_with) | none |
/// | [`depends_on`](Self::depends_on) | no other step |
/// | [`dies_with_dependencies`](Self::dies_with_dependencies) | no |
/// | [`ttl`](Self::ttl) | the lifetime in the response |
/// | [`timeout`](Self::timeout) | 30 s |
/// | [`http`](Self::http), [`transport`](Self::transport) | a shared client, 5 s for connecting |
/// | [`clock`](Self::clock) | the system's |
///
/// For a token in the body:
///
/// | setting | default |
/// | --- | --- |
/// | [`token_field`](HttpTokenFetcherBuilder::<InBody>::token_field) | `access_token` |
/// | [`token_type_field`](HttpTokenFetcherBuilder::<InBody>::token_type_field) | `token_type` |
/// | [`default_token_type`](HttpTokenFetcherBuilder::<InBody>::default_token_type) | `Bearer` |
/// | [`expires_in_field`](HttpTokenFetcherBuilder::<InBody>::expires_in_field) | `expires_in` |
/// | [`expires_at_field`](HttpTokenFetcherBuilder::<InBody>::expires_at_field) | none |
/// | [`refresh_token_field`](HttpTokenFetcherBuilder::<InBody>::refresh_token_field) | `refresh_token` |
///
/// For a token in a header:
///
/// | setting | default |
/// | --- | --- |
/// | [`token_header`](HttpTokenFetcherBuilder::<InHeader>::token_header) | `Authorization` |
/// | [`cookie`](HttpTokenFetcherBuilder::<InHeader>::cookie) | none: the token is in `token_header` |
/// | [`token_type`](HttpTokenFetcherBuilder::<InHeader>::token_type) | `Bearer` |
#[must_use]
pub struct HttpTokenFetcherBuilder<P> {
    name: String,
    base_url: String,
    endpoint: String,
    method: HttpMethod,
    content_type: ContentType,
    headers: RequestFields<String>,
    data: RequestFields<String>,
    ttl: Option<Duration>,
    timeout: Option<Duration>,
    depends_on: Vec<String>,
    dies_with_dependencies: bool,
    plain_http: bool,
    /// `None`: the shared [`HttpTransport`].
    transport: Option<Arc<dyn TokenTransport>>,
    clock: Arc<dyn Clock>,
    location: Result<P, ConfigError>,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

impl<P> HttpTokenFetcherBuilder<P> {
    fn new(name: String, base_url: String, endpoint: String, location: P) -> Self {
        Self {
            name,
            base_url,
            endpoint,
            method: HttpMethod::default(),
            content_type: ContentType::default(),
            headers: RequestFields { fixed: Vec::new(), dynamic: Vec::new() },
            data: RequestFields { fixed: Vec::new(), dynamic: Vec::new() },
            ttl: None,
            timeout: None,
            depends_on: Vec::new(),
            dies_with_dependencies: false,
            plain_http: false,
            transport: None,
            clock: Arc::new(SystemClock),
            location: Ok(location),
        }
    }

    /// Refuses a token type that is not one word: it would split the `Authorization` header.
    fn check_token_type(mut self, field: &'static str, token_type: &str) -> Self {
        if token_type.is_empty() || !token_type.bytes().all(|byte| byte.is_ascii_graphic()) {
            self.location = Err(ConfigError::new(field, "a word of printable ASCII characters"));
        }
        self
    }

    fn with(mut self, change: impl FnOnce(&mut P)) -> Self {
        if let Ok(location) = &mut self.location {
            change(location);
        }
        self
    }

    /// The HTTP method.
    pub fn method(mut self, method: HttpMethod) -> Self {
        self.method = method;
        self
    }

    /// The encoding of the data of a `POST`.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = content_type;
        self
    }

    /// Adds headers that are always the same. The builder refuses `Content-Length` and `Transfer-Encoding`, which
    /// follow from the body.
    pub fn request_headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<RequestValue>,
    {
        self.headers.fixed.extend(headers.into_iter().map(owned));
        self
    }

    /// Adds headers that the closure computes from the tokens of other steps. Name these steps in
    /// [`depends_on`](Self::depends_on). A computed header takes the place of earlier headers with the same name. The
    /// step fails if the closure returns `Content-Length` or `Transfer-Encoding`.
    #[doc(alias = "_build_request_headers")]
    pub fn request_headers_with<F, I, N, V>(mut self, headers: F) -> Self
    where
        F: Fn(&FetchContext) -> I + Send + Sync + 'static,
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<RequestValue>,
    {
        self.headers.dynamic.push(dynamic(headers));
        self
    }

    /// Adds data that is always the same: fields of the body, or of the query of a `GET`.
    pub fn request_data<N, V>(mut self, data: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: Into<String>,
        V: Into<RequestValue>,
    {
        self.data.fixed.extend(data.into_iter().map(owned));
        self
    }

    /// Adds data that the closure computes from the tokens of other steps. The rules are those of
    /// [`request_headers_with`](Self::request_headers_with).
    #[doc(alias = "_build_request_data")]
    pub fn request_data_with<F, I, N, V>(mut self, data: F) -> Self
    where
        F: Fn(&FetchContext) -> I + Send + Sync + 'static,
        I: IntoIterator<Item = (N, V)>,
        N: Into<String>,
        V: Into<RequestValue>,
    {
        self.data.dynamic.push(dynamic(data));
        self
    }

    /// The lifetime of the token, counted from the request. The step then ignores the lifetime in the response.
    pub fn ttl(mut self, lifetime: Duration) -> Self {
        self.ttl = Some(lifetime);
        self
    }

    /// The limit for the call. Default: 30 s.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Adds steps whose tokens the request needs.
    pub fn depends_on<S: Into<String>>(mut self, steps: impl IntoIterator<Item = S>) -> Self {
        self.depends_on.extend(steps.into_iter().map(Into::into));
        self
    }

    /// The token becomes invalid as soon as a token that it was obtained with is replaced or expires. Default: it
    /// outlives them. See
    /// [`TokenFetcher::dies_with_dependencies`](forge_core::TokenFetcher::dies_with_dependencies).
    pub fn dies_with_dependencies(mut self) -> Self {
        self.dies_with_dependencies = true;
        self
    }

    /// Accepts a base URL of plain `http` that is not on this machine. Anyone on the network path can then read the
    /// credentials and the token.
    pub fn danger_accept_plain_http(mut self, accept: bool) -> Self {
        self.plain_http = accept;
        self
    }

    /// Settings of the HTTP client: a proxy, certificates, a client identity, time-outs. Redirects, retries and the
    /// referer stay off; see [`HttpTransport::with`].
    ///
    /// These settings are not part of the cache key. Two steps that differ only in their client certificate therefore
    /// share one token in a shared storage. Give their pipelines different
    /// [prefixes](crate::TokenFetchPipelineBuilder::cache_key_prefix) to keep the tokens apart.
    pub fn http(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        // Order: the default limit first, so that a limit in the settings of the user wins.
        let limit = DEFAULT_TIMEOUT;
        self.transport = Some(Arc::new(HttpTransport::with(move |http| configure(http.timeout(limit)))));
        self
    }

    /// The transport of the calls, instead of the default one. Steps and providers can share a transport. It is not
    /// part of the cache key; see [`http`](Self::http).
    pub fn transport(mut self, transport: impl TokenTransport + 'static) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// The clock by which the token's lifetime counts.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }
}

impl<P: TokenLocation> HttpTokenFetcherBuilder<P> {
    /// Builds the fetcher, without a call.
    ///
    /// # Errors
    ///
    /// The error names the invalid field:
    ///
    /// - a `name` that is empty or contains a `:`;
    /// - a `base_url` that is neither https nor loopback, or that has a query;
    /// - a token type that is not one word;
    /// - a `token_header` that is not a header name, or is `Set-Cookie`;
    /// - a `cookie` that is not the name of a cookie;
    /// - a name or a value in `request_headers` that does not fit into a header;
    /// - nested `request_data` with another `content_type` than JSON, or JSON with `GET`;
    /// - a `ttl` or `timeout` of zero;
    /// - `http` settings that `reqwest` rejects.
    pub fn build(self) -> Result<HttpTokenFetcher<P>, ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::new("name", "a value that is not empty"));
        }
        check_key_word("name", &self.name)?;
        for (field, duration) in [("ttl", self.ttl), ("timeout", self.timeout)] {
            duration.map_or(Ok(()), |duration| check_positive(field, duration))?;
        }
        if self.method == HttpMethod::Get && self.content_type != ContentType::Form {
            return Err(ConfigError::new("content_type", "none for a GET, whose data goes into the query"));
        }
        let endpoint = checks::endpoint(&self.base_url, &self.endpoint, self.plain_http)?;
        let headers = checks::checked_headers(self.headers)?;
        checks::check_data(&self.data, self.content_type)?;
        // A transport of the user keeps its own limit, unless the step has a `timeout`.
        let is_default = self.transport.is_none();
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let transport = self.transport.unwrap_or_else(|| Arc::new(HttpTransport::shared()));
        transport.prepare(&endpoint)?;
        let location = self.location?;
        Ok(HttpTokenFetcher {
            location: if self.ttl.is_some() { location.without_expiry() } else { location },
            name: self.name,
            endpoint,
            method: self.method,
            content_type: self.content_type,
            headers,
            data: self.data,
            ttl: self.ttl,
            timeout,
            call_timeout: self.timeout.or(is_default.then_some(timeout)),
            depends_on: self.depends_on,
            dies_with_dependencies: self.dies_with_dependencies,
            transport,
            clock: self.clock,
        })
    }
}

fn owned<N: Into<String>, V: Into<RequestValue>>((name, value): (N, V)) -> (String, RequestValue) {
    (name.into(), value.into())
}

fn dynamic<F, I, N, V>(closure: F) -> FieldsFunction
where
    F: Fn(&FetchContext) -> I + Send + Sync + 'static,
    I: IntoIterator<Item = (N, V)>,
    N: Into<String>,
    V: Into<RequestValue>,
{
    Box::new(move |context| closure(context).into_iter().map(owned).collect())
}

impl<P> fmt::Debug for HttpTokenFetcherBuilder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTokenFetcherBuilder")
            .field("name", &self.name)
            .field("method", &self.method)
            .field("content_type", &self.content_type)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
