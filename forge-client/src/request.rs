use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forge_core::ConfigError;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use reqwest::multipart::Form;
use serde::Serialize;
use url::Url;

use crate::auth::{Auth, Instead};
use crate::client::Inner;
use crate::config::check_timeout;
use crate::hop::{Hop, RequestBody};
use crate::peek::at_hand;
use crate::retry::{IDEMPOTENCY_KEY, is_blank};
use crate::send::CallOptions;
use crate::target::presentable;
use crate::{Curl, HttpClientError, HttpResponse};

/// A request in the making; [`send`](Self::send) sends it. What was wrong on the way is told there.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    client: Arc<Inner>,
    request: Result<Parts, HttpClientError>,
}

/// The most of a form that is kept in memory.
const MAX_FORM: usize = 64 * 1024 * 1024;

struct Parts {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: RequestBody,
    options: CallOptions,
}

impl RequestBuilder {
    pub(crate) fn new(client: Arc<Inner>, method: Method, reference: &str) -> Self {
        let request = client.base_url.join(reference).map_err(HttpClientError::from).map(|url| Parts {
            method,
            url,
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
            options: CallOptions::default(),
        });
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
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        self.with(|parts| {
            let name =
                name.try_into().map_err(|_| ConfigError::new("header", "a name that fits into a header"))?;
            let value = value
                .try_into()
                .map_err(|_| ConfigError::new("header", "a value that fits into a header"))?;
            parts.headers.insert(name, value);
            Ok(())
        })
    }

    /// The body, encoded as JSON.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded =
                serde_json::to_vec(body).map_err(|_| ConfigError::new("json", "what JSON can express"))?;
            parts.set_body(encoded, "application/json");
            Ok(())
        })
    }

    /// The body, encoded as a form.
    pub fn form<T: Serialize + ?Sized>(self, body: &T) -> Self {
        self.with(|parts| {
            let encoded = serde_urlencoded::to_string(body)
                .map_err(|_| ConfigError::new("form", "pairs, a map or a flat struct"))?;
            parts.set_body(encoded, "application/x-www-form-urlencoded");
            Ok(())
        })
    }

    /// The body, as a multipart form (RFC 7578), for files among other things.
    ///
    /// What it is made of decides whether it can be sent again, as retries and replays after a 401 ask
    /// for: yes if all of it is at hand and not more than 64 MiB; no with a part that is a stream.
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
        let http = self.client.http.clone();
        self.with(|parts| {
            let encoded = http.post(parts.url.clone()).multipart(form).build();
            let mut encoded = encoded.map_err(|_| ConfigError::new("multipart", "parts that can be sent"))?;
            // Its length, if that is known, goes with the body.
            let length = encoded.headers_mut().remove(CONTENT_LENGTH);
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            parts.headers.extend(std::mem::take(encoded.headers_mut()));
            let body = encoded.body_mut().take().unwrap_or_default();
            parts.body = match at_hand(body, length, MAX_FORM) {
                Ok(bytes) => RequestBody::Bytes(bytes),
                Err(stream) => RequestBody::Stream(Some(stream)),
            };
            Ok(())
        })
    }

    /// The body, as it is.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|parts| {
            parts.body = RequestBody::Bytes(body.into());
            Ok(())
        })
    }

    /// A body that is read while it is sent. It can be sent once: it is not retried, and after a 401 the
    /// token is renewed for the next request, and the 401 goes to the caller.
    pub fn body_stream(self, body: impl Into<reqwest::Body>) -> Self {
        self.with(|parts| {
            parts.body = RequestBody::Stream(Some(body.into()));
            Ok(())
        })
    }

    /// How long each attempt may take, reading its body included, instead of the client's
    /// [time-out](crate::HttpClientConfigBuilder::with_timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|parts| {
            check_timeout("timeout", timeout)?;
            parts.options.timeout = Some(timeout);
            Ok(())
        })
    }

    /// How long the whole call may take, instead of the client's
    /// [total time-out](crate::HttpClientConfigBuilder::with_total_timeout).
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.with(|parts| {
            check_timeout("total_timeout", timeout)?;
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
    /// one is not sent.
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
            parts.options.auth.instead = Instead::Other(Box::new(auth.into().build()?));
            Ok(())
        })
    }

    /// Sends this request without the client's authentication. Headers that were set by hand, here or as
    /// the client's defaults, stay.
    pub fn no_auth(self) -> Self {
        self.with(|parts| {
            parts.options.auth.instead = Instead::Nothing;
            Ok(())
        })
    }

    /// Has a new token fetched for this request, whatever is cached
    /// ([`force_refresh`](forge_core::TokenSource::force_refresh)): after rights were granted, say, that
    /// the token at hand does not have yet.
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
    pub async fn send(self) -> Result<HttpResponse, HttpClientError> {
        let mut parts = self.request?;
        let client = &*self.client;
        if let Instead::Other(scheme) = &parts.options.auth.instead {
            // The client does not know that these are credentials.
            for name in scheme.header_names() {
                if let Some(value) = parts.headers.get_mut(name) {
                    value.set_sensitive(true);
                }
            }
        }
        let hop = Hop::first(
            parts.method,
            parts.url,
            &client.default_headers,
            parts.headers,
            parts.body,
            &client.trust,
        );
        let auth = &parts.options.auth;
        if let Err(error) = auth.check(client.authentication.as_deref(), hop.is_trusted()) {
            return Err(HttpClientError::from(error).at(&hop.method, &hop.url));
        }
        crate::send::send(client, hop, parts.options).await
    }

    /// The request as a command line for `curl`, for a bug report or a terminal: as it would be sent first,
    /// with default headers and with the credential that is at hand (nothing is fetched, and request hooks
    /// are not asked). Secrets are masked, by the rules of [`Logging`](crate::Logging), unless
    /// [`with_secrets`](Curl::with_secrets) asks for them. A stream has to come from standard input, and so
    /// has a body that is no text; where secrets are masked, also one that is neither JSON nor a form.
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
        let hop = Hop::first(
            parts.method.clone(),
            parts.url.clone(),
            &client.default_headers,
            parts.headers.clone(),
            parts.body.shown(),
            &client.trust,
        );
        let mut headers = hop.headers.clone();
        if let Some(scheme) = parts.options.auth.scheme(client.authentication.as_deref())
            && hop.is_trusted()
        {
            scheme.show(&hop.bare(), &mut headers);
        }
        Curl::of(client, hop, headers)
    }

    fn with(mut self, change: impl FnOnce(&mut Parts) -> Result<(), ConfigError>) -> Self {
        self.request = self.request.and_then(|mut parts| match change(&mut parts) {
            Ok(()) => Ok(parts),
            Err(error) => Err(HttpClientError::from(error).at(&parts.method, &parts.url)),
        });
        self
    }
}

impl Parts {
    fn set_body(&mut self, body: impl Into<Bytes>, content_type: &'static str) {
        self.body = RequestBody::Bytes(body.into());
        self.headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
    }
}

impl fmt::Debug for RequestBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("RequestBuilder");
        match &self.request {
            Ok(parts) => debug.field("method", &parts.method).field("url", &presentable(&parts.url)),
            Err(error) => debug.field("error", error),
        };
        debug.finish_non_exhaustive()
    }
}
