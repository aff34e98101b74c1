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

/// A request in the making; [`send`](Self::send) sends it. What was wrong on the way is told there.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Arc<ClientCore>,
    /// Boxed, as each setter moves it.
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
    /// What is sent first, if it may be.
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

    /// Appends to the query: pairs, a map, or a struct.
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

    /// Sets a header, instead of the client's default of that name.
    ///
    /// A `Content-Type` that is set so is that of the body, whatever the body is and whenever it is set.
    /// `Content-Length` and `Transfer-Encoding` are refused: they follow from the body.
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

    /// The body, encoded as JSON. Of several bodies the last one counts, with its content type.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded =
                serde_json::to_vec(body).map_err(|_| ConfigError::new("json", "what JSON can express"))?;
            parts.body = TypedBody::of(encoded, "application/json");
            Ok(())
        })
    }

    /// The body, encoded as a form.
    pub fn form<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded = serde_urlencoded::to_string(body)
                .map_err(|_| ConfigError::new("form", "pairs, a map or a flat struct"))?;
            parts.body = TypedBody::of(encoded, "application/x-www-form-urlencoded");
            Ok(())
        })
    }

    /// The body, as a multipart form (RFC 7578), for files among other things.
    ///
    /// What it is made of decides whether it can be sent again, as retries and replays after a 401 ask
    /// for: yes if all of it is at hand, and not more than 64 MiB; no with a part that is a stream of which
    /// something has to be waited for, or of unknown length. A stream that says how long it is, and takes no
    /// waiting, counts as at hand, and is read here.
    ///
    /// The form's content type names its boundary. Another one
    /// (`multipart/related; boundary=…`, with [`Form::boundary`]) has to name the same, or the form is refused.
    ///
    /// ```
    /// use forge_client::reqwest::multipart::{Form, Part};
    ///
    /// # fn run(client: &forge_client::HttpClient, report: Vec<u8>) -> forge_client::RequestBuilder {
    /// let form = Form::new().text("title", "Q3").part("file", Part::bytes(report).file_name("q3.pdf"));
    /// client.put("/reports/q3").multipart(form)
    /// # }
    /// ```
    pub fn multipart(self, form: Form) -> Self {
        let client = Arc::clone(&self.client);
        self.with(|parts| {
            let body = TypedBody::form(form, client.http_for(&parts.url)?, &parts.url)?;
            body.check_length("multipart", &parts.method)?;
            parts.body = body;
            parts.body.check(&parts.headers)
        })
    }

    /// The body, as it is.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|parts| {
            parts.body = TypedBody::untyped(RequestBody::Bytes(body.into()));
            Ok(())
        })
    }

    /// A body that is read while it is sent. It can be sent once: it is not retried, and after a 401 the
    /// token is renewed for the next request, and the 401 goes to the caller.
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

    /// How long each attempt may take, reading its body included, instead of the client's
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

    /// Names the operation, so that a server that knows the header `Idempotency-Key` carries it out
    /// once, however often it comes. With it, also a `POST` or `PATCH` is retried, each time with this
    /// key. A random one for each operation (a UUID, say) is what servers expect.
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

    /// Has this request retried whatever its method is, as if it were idempotent: a server may carry
    /// it out several times.
    pub fn retry_any_method(self) -> Self {
        self.with(|parts| {
            parts.options.retry_any_method = true;
            Ok(())
        })
    }

    /// Authenticates this request so, instead of as the client does; its API key is left out, too. As
    /// always, only an origin that may see the client's credentials gets to see these: a request to another
    /// one is not sent. A client without a base URL has such origins only if they are named
    /// ([`with_credential_origin`](crate::HttpClientConfigBuilder::with_credential_origin)).
    ///
    /// ```no_run
    /// # async fn run(
    /// #     client: forge_client::HttpClient, tokens_of_another_user: impl forge_core::TokenSource + 'static,
    /// # ) -> Result<(), forge_client::HttpClientError> {
    /// use forge_client::TokenAuth;
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

    /// Sends this request without the client's authentication. Headers that were set by hand, here or as
    /// the client's defaults, stay.
    pub fn no_auth(self) -> Self {
        self.with(|parts| {
            parts.options.auth.auth_override = AuthOverride::Disable;
            Ok(())
        })
    }

    /// Has a new token fetched for this request, whatever is cached
    /// ([`force_refresh`](forge_core::TokenSource::force_refresh)): after rights were granted, say, that
    /// the token at hand does not have yet.
    ///
    /// Once for the call, and only where a token is sent: nothing is fetched for a path that is excluded, at
    /// an origin that may not see the token, or if the request has the token's header already. Where no token
    /// of a source authenticates the request at all, this is an error of [`send`](Self::send).
    pub fn force_renewal(self) -> Self {
        self.with(|parts| {
            parts.options.auth.force_renewal = true;
            Ok(())
        })
    }

    /// Sends the request. An answer of any status is a response; see
    /// [`HttpResponse::error_for_status`].
    ///
    /// # Errors
    ///
    /// There was no answer, no token could be had (without one nothing is sent, and after a 401
    /// nothing is sent again), a redirect was refused,
    /// or the request could not be built.
    // Boxed, as whoever awaits it would move it, and hold it once more for each function in between.
    pub fn send(self) -> impl Future<Output = Result<HttpResponse, HttpClientError>> + Send {
        let Self { client, request } = self;
        Box::pin(async move {
            let (hop, options) = request?.first_hop(&client)?;
            let mut call = Call::new(&client, hop, &options);
            match call.run().await {
                // Piece by piece: as a whole the call would be copied.
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
    /// # fn run() -> Result<(), forge_client::HttpClientError> {
    /// use forge_client::HttpClient;
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

/// Marks what stands where the request's own authentication would put something: the client does not know that
/// this is a credential.
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
