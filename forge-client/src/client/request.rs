use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forge_core::{ConfigError, check_positive};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::multipart::Form;
use serde::Serialize;
use url::Url;

use crate::auth::Auth;
use crate::body::{RequestBody, TypedBody};
use crate::call::{AuthOverride, Call, CallOptions, ClientCore, Hop};
use crate::origin::{header, without_query};
use crate::retry::{IDEMPOTENCY_KEY, is_blank};
use crate::{Curl, HttpClientError, HttpResponse};

/// Builds a request, which [`send`](Self::send) sends. The first mistake in it is the error of `send`.
#[doc(alias = "HttpRequest")]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Arc<ClientCore>,
    /// Speed: boxed, because each setter moves it.
    request: Result<Box<Parts>, HttpClientError>,
}

struct Parts {
    method: Method,
    url: Url,
    /// The caller's own.
    headers: HeaderMap,
    body: TypedBody,
    options: CallOptions,
}

impl Parts {
    /// The first hop, if the options are valid for it.
    fn first_hop(
        mut self: Box<Self>,
        client: &ClientCore,
    ) -> Result<(Hop<'_>, CallOptions), HttpClientError> {
        mark_own_credentials(&self.options, &mut self.headers);
        let (headers, body) = self.body.with_content_type(self.headers);
        let hop = Hop::first(
            self.method,
            self.url.into(),
            &client.settings.default_headers,
            headers,
            body,
            &client.settings.trust,
        );
        match self.options.auth.check(client.settings.authentication.as_deref(), hop.is_trusted()) {
            Ok(()) => Ok((hop, self.options)),
            Err(error) => Err(HttpClientError::from(error).at(&hop.method, &hop.url)),
        }
    }
}

impl RequestBuilder {
    pub(crate) fn new(client: Arc<ClientCore>, method: Method, reference: &str) -> Self {
        let parts = |url| Parts {
            method,
            url,
            headers: HeaderMap::new(),
            body: TypedBody::untyped(RequestBody::Empty),
            options: CallOptions::default(),
        };
        let request = match client.settings.base_url.join(reference) {
            Ok(url) => Ok(Box::new(parts(url))),
            Err(error) => Err(error.into()),
        };
        Self { client, request }
    }

    /// Appends pairs, a map or a struct to the query.
    #[doc(alias = "params")]
    pub fn query<T: Serialize + ?Sized>(self, query: &T) -> Self {
        self.with(|parts| {
            let mut pairs = parts.url.query_pairs_mut();
            let serialized = query.serialize(serde_urlencoded::Serializer::new(&mut pairs));
            serialized.map(drop).map_err(|_| ConfigError::new("query", "pairs, a map or a flat struct"))?;
            drop(pairs);
            if parts.url.query() == Some("") {
                parts.url.set_query(None);
            }
            Ok(())
        })
    }

    /// Sets a header, which replaces the client's default header of that name.
    ///
    /// A `Content-Type` set here wins over that of the body, before or after the body is set. `Content-Length` and
    /// `Transfer-Encoding` are errors: they follow from the body.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with(|parts| {
            let (name, value) = header(name, value)?;
            parts.headers.insert(name, value);
            parts.body.check(&parts.headers)
        })
    }

    /// Sets the body, encoded as JSON. Of several bodies the last one counts, with its content type.
    #[doc(alias = "json_data")]
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded = serde_json::to_vec(body)
                .map_err(|_| ConfigError::new("json", "a value that JSON can express"))?;
            parts.body = TypedBody::of(encoded, "application/json");
            Ok(())
        })
    }

    /// Sets the body, encoded as a form.
    pub fn form<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded = serde_urlencoded::to_string(body)
                .map_err(|_| ConfigError::new("form", "pairs, a map or a flat struct"))?;
            parts.body = TypedBody::of(encoded, "application/x-www-form-urlencoded");
            Ok(())
        })
    }

    /// Sets the body to a multipart form (RFC 7578), for files for example.
    ///
    /// For a retry or a replay after a 401 the client must be able to send the form again. It can, if the form
    /// has at most 64 MiB and all its parts are ready. A part is not ready if it is a stream of unknown length,
    /// or one that has to be waited for. This method reads streams that are ready.
    ///
    /// The form's content type names its boundary. Another one
    /// (`multipart/related; boundary=…`, with [`Form::boundary`]) has to name the same, or the form is refused.
    ///
    /// ```
    /// use requestforge::reqwest::multipart::{Form, Part};
    ///
    /// # fn run(client: &requestforge::HttpClient, report: Vec<u8>) -> requestforge::client::RequestBuilder {
    /// let form = Form::new().text("title", "Q3").part("file", Part::bytes(report).file_name("q3.pdf"));
    /// client.put("/reports/q3").multipart(form)
    /// # }
    /// ```
    #[doc(alias = "files")]
    pub fn multipart(self, form: Form) -> Self {
        let client = Arc::clone(&self.client);
        self.with(|parts| {
            let body = TypedBody::form(form, client.http_for(&parts.url)?, &parts.url)?;
            body.check_length("multipart", &parts.method)?;
            parts.body = body;
            parts.body.check(&parts.headers)
        })
    }

    /// Sets the body to these bytes.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|parts| {
            parts.body = TypedBody::untyped(RequestBody::Bytes(body.into()));
            Ok(())
        })
    }

    /// Sets the body to a stream, which the client reads while it sends. The client can send it once, so it
    /// does not retry the request. After a 401 it renews the token for the next request, and the caller gets
    /// the 401.
    ///
    /// With `GET`, `HEAD` and `CONNECT` the stream must know its length (its size hint is exact). HTTP/1.1 sends
    /// a body of unknown length in chunks, and `hyper` does not do so for these methods. With them any other
    /// stream is an error, and so is a [form](Self::multipart) that contains one.
    pub fn body_stream(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|parts| {
            let body = TypedBody::untyped(RequestBody::Stream(Some(body.into())));
            body.check_length("body_stream", &parts.method)?;
            parts.body = body;
            Ok(())
        })
    }

    /// How long each attempt may take, with the reading of its body, instead of the client's
    /// [time-out](crate::HttpClientConfigBuilder::with_timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|parts| {
            check_positive("timeout", timeout)?;
            parts.options.timeout = Some(timeout);
            Ok(())
        })
    }

    /// How long the whole call may take, instead of the client's
    /// [total time-out](crate::HttpClientConfigBuilder::with_total_timeout).
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.with(|parts| {
            check_positive("total_timeout", timeout)?;
            parts.options.total_timeout = Some(timeout);
            Ok(())
        })
    }

    /// Sets the header `Idempotency-Key`, which names the operation. A server that knows the header carries the
    /// operation out once, however often the request comes. So the client retries also a `POST` or a `PATCH`
    /// with a key. Servers expect a random key for each operation, such as a UUID.
    pub fn idempotency_key(self, key: impl AsRef<str>) -> Self {
        self.with(|parts| {
            let refused =
                || ConfigError::new("idempotency_key", "a value that fits into a header, not blank");
            let value = HeaderValue::try_from(key.as_ref()).map_err(|_| refused())?;
            if is_blank(&value) {
                return Err(refused());
            }
            parts.headers.insert(IDEMPOTENCY_KEY, value);
            Ok(())
        })
    }

    /// Lets the client retry this request whatever its method is. The server may carry it out several times.
    pub fn retry_any_method(self) -> Self {
        self.with(|parts| {
            parts.options.retry_any_method = true;
            Ok(())
        })
    }

    /// Authenticates this request in this way instead of the client's; the client's API key is left out, too. Only an
    /// origin that may see the client's credentials may see these: a request to another origin is an error. A client
    /// without a base URL has such origins only if they are named
    /// ([`with_credential_origin`](crate::HttpClientConfigBuilder::with_credential_origin)).
    ///
    /// ```no_run
    /// # async fn run(
    /// #     client: requestforge::HttpClient, tokens_of_another_user: impl requestforge::TokenSource + 'static,
    /// # ) -> Result<(), requestforge::HttpClientError> {
    /// use requestforge::TokenAuth;
    ///
    /// client.get("/me").auth(TokenAuth::new(tokens_of_another_user)).send().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn auth(self, auth: impl Into<Auth>) -> Self {
        self.with(|parts| {
            parts.options.auth.auth_override = AuthOverride::Replace(Box::new(auth.into().build()?));
            Ok(())
        })
    }

    /// Sends this request without the client's authentication. Headers stay that were set here or as the
    /// client's default headers.
    pub fn no_auth(self) -> Self {
        self.with(|parts| {
            parts.options.auth.auth_override = AuthOverride::Disable;
            Ok(())
        })
    }

    /// Fetches a new token for this request, also if one is cached
    /// ([`force_refresh`](forge_core::TokenSource::force_refresh)). Use it for example after rights were
    /// granted that the cached token does not have yet.
    ///
    /// The client fetches once for the call, and only if it sends a token: not for an excluded path, not to an
    /// origin that may not see the token, and not if the request has the token's header already. If the request
    /// is not authenticated with tokens from a source at all, this is an error of [`send`](Self::send).
    pub fn force_renewal(self) -> Self {
        self.with(|parts| {
            parts.options.auth.force_renewal = true;
            Ok(())
        })
    }

    /// Sends the request. A response is no error, whatever its status: see [`HttpResponse::error_for_status`].
    ///
    /// # Errors
    ///
    /// The request is invalid, the client got no token or no response, or it refused a redirect. Without a
    /// token it sends nothing, and after a 401 it sends nothing again.
    // Speed: boxed. Each async function between here and the task would hold the future in its own, and move it.
    pub fn send(self) -> impl Future<Output = Result<HttpResponse, HttpClientError>> + Send {
        let Self { client, request } = self;
        Box::pin(async move {
            let (hop, options) = request?.first_hop(&client)?;
            let mut call = Call::new(&client, hop, &options);
            match call.run().await {
                // Speed: takes the fields one by one. To move the call as a whole would copy it.
                Ok(response) => Ok(HttpResponse {
                    method: call.hop.method,
                    url: call.hop.url,
                    inner: response,
                    attempts: call.attempts,
                    elapsed: call.started.elapsed(),
                    max_body: client.settings.max_body,
                }),
                Err(error) => Err(call.report_error(error)),
            }
        })
    }

    /// The request as a command line for `curl`, for a bug report or a terminal: as it would be sent first, with
    /// default headers and with the credential, if it is available without a fetch. This fetches nothing and
    /// calls no request hooks. The request's own time-outs become `--max-time`; the client's do not. Secrets are
    /// masked by the rules of [`Logging`](crate::Logging), unless you call [`with_secrets`](Curl::with_secrets).
    ///
    /// A multipart form becomes one option for each part. The option for a file contains only its name: `curl`
    /// reads the file from the directory in which it runs. The command line cannot contain a stream, a body that
    /// is not text, or a form with a part for which `curl` has no option. Masked, it also cannot contain a body
    /// that is neither JSON nor a form. The same holds for a part with other headers than its type, and for a file
    /// name with a path. Then `curl` reads the body from standard input.
    ///
    /// ```
    /// # fn run() -> Result<(), requestforge::HttpClientError> {
    /// use requestforge::HttpClient;
    ///
    /// let client = HttpClient::builder("https://api.example.com").with_bearer_token("abc").build()?;
    /// let request = client.get("/users").query(&[("page", "2"), ("api_key", "xyz")]);
    /// let masked = "curl 'https://api.example.com/users?page=2&api_key=***' -H 'authorization: ***'";
    /// assert_eq!(request.to_curl().to_string(), masked);
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// ```
    pub fn to_curl(&self) -> Curl<'_> {
        let parts = match &self.request {
            Ok(parts) => parts,
            Err(error) => return Curl::failed(error),
        };
        let client = &*self.client;
        let mut own = parts.headers.clone();
        mark_own_credentials(&parts.options, &mut own);
        let (headers, body) = parts.body.without_stream().with_content_type(own);
        let (method, url) = (parts.method.clone(), parts.url.clone());
        let hop = Hop::first(
            method,
            url.into(),
            &client.settings.default_headers,
            headers,
            body,
            &client.settings.trust,
        );
        let mut headers = HeaderMap::clone(&hop.headers);
        if let Some(plan) = parts.options.auth.plan(client.settings.authentication.as_deref())
            && hop.is_trusted()
        {
            plan.show(&hop.auth_request(), &mut headers);
        }
        let timeout = parts.options.timeout.into_iter().chain(parts.options.total_timeout).min();
        Curl::of(client, hop, headers, timeout)
    }

    fn with(mut self, change: impl FnOnce(&mut Parts) -> Result<(), ConfigError>) -> Self {
        if let Ok(parts) = &mut self.request
            && let Err(error) = change(parts)
        {
            self.request = Err(HttpClientError::from(error).at(&parts.method, &parts.url.clone().into()));
        }
        self
    }
}

/// Marks the headers as sensitive that the caller has set in place of the request's own authentication. The
/// client knows only the headers of its own authentication as credentials.
fn mark_own_credentials(options: &CallOptions, headers: &mut HeaderMap) {
    let AuthOverride::Replace(plan) = &options.auth.auth_override else { return };
    for name in plan.header_names() {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RequestBuilder");
        match &self.request {
            Ok(parts) => debug.field("method", &parts.method).field("url", &without_query(&parts.url)),
            Err(error) => debug.field("error", error),
        };
        debug.finish_non_exhaustive()
    }
}
