//! Steps that make one HTTP call each.

mod builder;
mod cookie;
mod location;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, FetchContext, Secret, TokenData, TokenFetcher,
    async_trait, check_header_name,
};
use forge_token::{TokenAttempt, TokenEndpoint, TokenRequest, TokenTransport, call_with_one_retry};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

pub use builder::HttpTokenFetcherBuilder;
pub use location::{InBody, InHeader};
pub use value::RequestValue;

use location::TokenLocation;
use value::{ResolvedValue, SentTexts};

/// A step that reads its token from the JSON body of the response.
pub type BodyTokenFetcher = HttpTokenFetcher<InBody>;

/// A step that reads its token from a header of the response, or from a cookie that the response sets.
pub type HeaderTokenFetcher = HttpTokenFetcher<InHeader>;

/// A step that makes one HTTP call. Its headers and data may contain the tokens of other steps. Programs name the type
/// [`BodyTokenFetcher`] or [`HeaderTokenFetcher`].
///
/// The URL must be `https`, or name this machine. The fetcher follows no redirect. It reads at most 1 MiB of a
/// response, and waits for it at most as long as the step's time-out.
///
/// The fetcher repeats a call once within the time-out if the call ended without a response, or failed fast and
/// transiently. It reads all values again for the second attempt: see [`call_with_one_retry`]. It sends a call with a
/// refresh token only once, over a new connection. Such a call has the `grant_type` `refresh_token`, has a field or
/// header with that name, or contains the refresh token of another step.
///
/// An error shows nothing that the fetcher has sent, even if the server echoes it. It shows at most the error code and
/// the error description of the response (RFC 6749 5.2).
pub struct HttpTokenFetcher<P> {
    name: String,
    endpoint: TokenEndpoint,
    method: HttpMethod,
    content_type: ContentType,
    headers: RequestFields<HeaderName>,
    data: RequestFields<String>,
    ttl: Option<Duration>,
    timeout: Duration,
    /// The limit that the transport gets for a call. `None`: the transport has its own.
    call_timeout: Option<Duration>,
    depends_on: Vec<String>,
    dies_with_dependencies: bool,
    transport: Arc<dyn TokenTransport>,
    clock: Arc<dyn Clock>,
    location: P,
}

/// How a step calls its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpMethod {
    /// `GET`, with the data in the query. Servers and proxies log queries, so a secret does not belong there.
    Get,
    /// `POST`, with the data in the body. The default.
    #[default]
    Post,
}

/// The encoding of the data of a `POST`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentType {
    /// `application/x-www-form-urlencoded`. The default.
    #[default]
    Form,
    /// A JSON object.
    Json,
}

/// Names and values of a request. Some are always the same, others are computed from the tokens of other steps.
struct RequestFields<N> {
    fixed: Vec<(N, RequestValue)>,
    dynamic: Vec<FieldsFunction>,
}

type FieldsFunction = Box<dyn Fn(&FetchContext) -> Vec<(String, RequestValue)> + Send + Sync>;

impl<N: Clone + PartialEq> RequestFields<N> {
    /// All names and values for one request. A computed value takes the place of earlier values with the same name.
    fn for_request(
        &self,
        context: &FetchContext,
        name: impl Fn(String) -> Result<N, AuthenticationError>,
    ) -> Result<Vec<(N, RequestValue)>, AuthenticationError> {
        let mut parts = self.fixed.clone();
        for dynamic in &self.dynamic {
            let mut added = Vec::new();
            for (given, value) in dynamic(context) {
                added.push((name(given)?, value));
            }
            parts.retain(|(name, _)| added.iter().all(|(newer, _)| newer != name));
            parts.extend(added);
        }
        Ok(parts)
    }
}

impl<P: TokenLocation> HttpTokenFetcher<P> {
    /// Whether the call contains a refresh token: by its grant, by the name of a field or header, or because a value
    /// contains the refresh token of another step.
    fn sends_refresh_token(&self, context: &FetchContext) -> Result<bool, AuthenticationError> {
        let is_of_context = |text: &Secret| {
            let mut refresh_tokens = context.tokens().filter_map(|(_, token)| token.refresh_token());
            refresh_tokens.any(|refresh_token| text.expose().contains(refresh_token))
        };
        let data = self.data.for_request(context, Ok)?;
        let is_in_data = data.iter().any(|(name, value)| {
            let is_grant = |text: &Secret| name == "grant_type" && text.expose() == "refresh_token";
            names_refresh_token(name)
                || value.text().is_some_and(|text| is_grant(text) || is_of_context(text))
        });
        let headers = self.headers.for_request(context, header_name)?;
        let is_in_headers = headers.iter().any(|(name, value)| {
            names_refresh_token(name.as_str()) || value.text().is_some_and(is_of_context)
        });
        Ok(is_in_data || is_in_headers)
    }

    async fn attempt(
        &self,
        attempt: TokenAttempt,
        context: &FetchContext,
    ) -> Result<TokenData, AuthenticationError> {
        // Attack: a server may echo what it receives, also a key in the query of the endpoint. No error shows these.
        let mut sent = SentTexts::new(&self.endpoint, context);
        let mut request = self.request(context, &mut sent).await?;
        request.connection = attempt.connection;
        request.timeout = self.call_timeout.map(|limit| attempt.timeout.unwrap_or(limit));
        // Order: before the call. The lifetime counts from the request, so a slow response does not prolong it.
        let sent_at = self.clock.now().wall();
        let response = self.transport.call(request).await?;
        let token = self.location.read(&response, sent_at, &sent.as_strs())?;
        Ok(match self.ttl {
            Some(ttl) => token.with_lifetime_from(ttl, sent_at),
            None => token,
        })
    }

    async fn request(
        &self,
        context: &FetchContext,
        sent: &mut SentTexts,
    ) -> Result<TokenRequest, AuthenticationError> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.for_request(context, header_name)? {
            let text = value.read(|| format!("header `{name}`")).await?.into_text();
            let text =
                text.ok_or_else(|| invalid_request(&format!("header `{name}`"), "a text or a number"))?;
            sent.add_header(&name, &text);
            let value = text.into_header_value().map_err(|error| {
                invalid_request(&format!("header `{name}`"), "characters that fit into a header")
                    .with_source(error)
            })?;
            headers.append(name, value);
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(P::ACCEPT));

        let mut data = Vec::new();
        for (name, value) in self.data.for_request(context, Ok)? {
            let read = value.read(|| format!("data field `{name}`")).await?;
            sent.add_value(&read);
            data.push((name, read));
        }
        let mut request = match self.method {
            HttpMethod::Get => TokenRequest::get(self.endpoint.with_query_pairs(into_texts(data)?)),
            HttpMethod::Post => {
                let (content_type, body) = match self.content_type {
                    ContentType::Form => {
                        ("application/x-www-form-urlencoded", value::encode_form(into_texts(data)?))
                    }
                    ContentType::Json => ("application/json", value::encode_json(&data)),
                };
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
                TokenRequest::post(self.endpoint.clone(), Bytes::from_owner(body))
            }
        };
        request.headers = headers;
        Ok(request)
    }
}

/// Whether a name means a refresh token, as `refresh_token`, `refreshToken` and `X-Refresh-Token` do.
fn names_refresh_token(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    letters.to_ascii_lowercase().contains("refreshtoken")
}

/// The values as texts, for a form or a query.
fn into_texts(
    data: Vec<(String, ResolvedValue)>,
) -> Result<Vec<(String, Zeroizing<String>)>, AuthenticationError> {
    let text = |(name, value): (String, ResolvedValue)| match value.into_text() {
        Some(text) => Ok((name, Zeroizing::new(text.expose().to_owned()))),
        None => Err(invalid_request(
            &format!("data field `{name}`"),
            &format!("a text or a number; {ONLY_JSON_NESTS}"),
        )),
    };
    data.into_iter().map(text).collect()
}

const ONLY_JSON_NESTS: &str = "only `ContentType::Json` holds lists, objects and null";

fn header_name(name: String) -> Result<HeaderName, AuthenticationError> {
    const WHAT: &str = "a name of `request_headers_with`";
    let name = HeaderName::try_from(name)
        .map_err(|error| invalid_request(WHAT, "a header name").with_source(error))?;
    check_header_name("request_headers_with", &name)
        .map_err(|error| invalid_request(WHAT, "one that callers may set").with_source(error))?;
    Ok(name)
}

/// The error of a setting or a value that no request can contain.
fn invalid_request(what: &str, expected: &str) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration)
        .with_message(format!("{what}: expected {expected}"))
}

#[async_trait]
impl<P: TokenLocation> TokenFetcher for HttpTokenFetcher<P> {
    fn name(&self) -> &str {
        &self.name
    }

    fn depends_on(&self) -> Vec<&str> {
        self.depends_on.iter().map(String::as_str).collect()
    }

    fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn dies_with_dependencies(&self) -> bool {
        self.dies_with_dependencies
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        if self.sends_refresh_token(context)? {
            // Crash: if the connection ends before the response, the server may have used the refresh token up. A
            // second call with it could revoke the whole family of tokens.
            return self.attempt(TokenAttempt::only(), context).await;
        }
        call_with_one_retry(Some(self.timeout), |attempt| self.attempt(attempt, context)).await
    }
}

impl<P> fmt::Debug for HttpTokenFetcher<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTokenFetcher")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("depends_on", &self.depends_on)
            .finish_non_exhaustive()
    }
}
