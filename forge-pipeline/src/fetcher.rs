//! Steps that are one HTTP call each.

mod builder;
mod cookie;
mod place;
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
pub use place::{InBody, InHeader};
pub use value::RequestValue;

use place::Place;
use value::{Read, Sent};

/// A step whose token stands in the JSON of an answer.
pub type BodyTokenFetcher = HttpTokenFetcher<InBody>;

/// A step that reads its token from a header of the answer, or from a cookie that the answer sets.
pub type HeaderTokenFetcher = HttpTokenFetcher<InHeader>;

/// What [`BodyTokenFetcher`] and [`HeaderTokenFetcher`] share: one call, whose headers and data may hold
/// the tokens of other steps.
///
/// The URL must be `https`, or name this machine; no redirect is followed; an answer is limited to 1 MiB
/// and to the step's time-out. The fetcher repeats a call once within that time-out if the call ended without
/// an answer, or failed fast and transiently; it reads all values again for the second attempt: see
/// [`call_with_one_retry`]. It sends a call with a refresh token only once, over a new connection. That is a call
/// whose `grant_type` is `refresh_token`, that has a field or header named so, or that contains the refresh
/// token of another step. An error shows nothing that was sent, even if the server echoes it. Of the answer
/// it shows at most an error code and its description (RFC 6749 5.2).
pub struct HttpTokenFetcher<P> {
    name: String,
    endpoint: TokenEndpoint,
    method: HttpMethod,
    content_type: ContentType,
    headers: Parts<HeaderName>,
    data: Parts<String>,
    ttl: Option<Duration>,
    timeout: Duration,
    /// How long the transport is to take; `None`: as it is set up.
    call_timeout: Option<Duration>,
    depends_on: Vec<String>,
    dies_with_dependencies: bool,
    transport: Arc<dyn TokenTransport>,
    clock: Arc<dyn Clock>,
    place: P,
}

/// How a step calls its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpMethod {
    /// `GET`, with the data in the query. Servers and proxies log queries.
    Get,
    /// `POST`, with the data in the body. The default.
    #[default]
    Post,
}

/// How the data of a `POST` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentType {
    /// As `application/x-www-form-urlencoded`. The default.
    #[default]
    Form,
    /// As a JSON object.
    Json,
}

/// Named values of a request: those that are always the same, and those that depend on other steps' tokens.
struct Parts<N> {
    fixed: Vec<(N, RequestValue)>,
    dynamic: Vec<Dynamic>,
}

type Dynamic = Box<dyn Fn(&FetchContext) -> Vec<(String, RequestValue)> + Send + Sync>;

impl<N: Clone + PartialEq> Parts<N> {
    /// All of them. A later dynamic one takes the place of all before that have its name.
    fn of_request(
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

impl<P: Place> HttpTokenFetcher<P> {
    /// Whether the call holds a refresh token: by its grant, by a name, or since it is that of another step.
    fn sends_refresh_token(&self, context: &FetchContext) -> Result<bool, AuthenticationError> {
        let is_of_context = |text: &Secret| {
            let mut refresh_tokens = context.tokens().filter_map(|(_, token)| token.refresh_token());
            refresh_tokens.any(|refresh_token| text.expose().contains(refresh_token))
        };
        let data = self.data.of_request(context, Ok)?;
        let is_in_data = data.iter().any(|(name, value)| {
            let is_grant = |text: &Secret| name == "grant_type" && text.expose() == "refresh_token";
            names_refresh_token(name)
                || value.text().is_some_and(|text| is_grant(text) || is_of_context(text))
        });
        let headers = self.headers.of_request(context, header_name)?;
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
        // Some endpoints are given a key in the query.
        let mut sent = Sent::new(&self.endpoint, context);
        let mut request = self.request(context, &mut sent).await?;
        request.connection = attempt.connection;
        request.timeout = self.call_timeout.map(|limit| attempt.timeout.unwrap_or(limit));
        // The lifetime counts from here: a slow answer must not stretch it.
        let sent_at = self.clock.now().wall();
        let response = self.transport.call(request).await?;
        let token = self.place.read(&response, sent_at, &sent.texts())?;
        Ok(match self.ttl {
            Some(ttl) => token.with_lifetime_from(ttl, sent_at),
            None => token,
        })
    }

    async fn request(
        &self,
        context: &FetchContext,
        sent: &mut Sent,
    ) -> Result<TokenRequest, AuthenticationError> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.of_request(context, header_name)? {
            let text = value.read(|| format!("header `{name}`")).await?.into_text();
            let text = text.ok_or_else(|| unfit(&format!("header `{name}`"), "a text or a number"))?;
            sent.header(&name, &text);
            let value = text.into_header_value().map_err(|error| {
                unfit(&format!("header `{name}`"), "characters that fit into a header").with_source(error)
            })?;
            headers.append(name, value);
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static(P::ACCEPT));

        let mut data = Vec::new();
        for (name, value) in self.data.of_request(context, Ok)? {
            let read = value.read(|| format!("data field `{name}`")).await?;
            sent.data(&read);
            data.push((name, read));
        }
        let mut request = match self.method {
            HttpMethod::Get => TokenRequest::get(self.endpoint.with_query_pairs(texts(data)?)),
            HttpMethod::Post => {
                let (content_type, body) = match self.content_type {
                    ContentType::Form => ("application/x-www-form-urlencoded", value::form(texts(data)?)),
                    ContentType::Json => ("application/json", value::json(&data)),
                };
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(content_type));
                TokenRequest::post(self.endpoint.clone(), Bytes::from_owner(body))
            }
        };
        request.headers = headers;
        Ok(request)
    }
}

/// As `refresh_token`, `refreshToken` and `X-Refresh-Token` do.
fn names_refresh_token(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    letters.to_ascii_lowercase().contains("refreshtoken")
}

/// What forms and queries can hold.
fn texts(data: Vec<(String, Read)>) -> Result<Vec<(String, Zeroizing<String>)>, AuthenticationError> {
    let text = |(name, value): (String, Read)| match value.into_text() {
        Some(text) => Ok((name, Zeroizing::new(text.expose().to_owned()))),
        None => Err(unfit(&format!("data field `{name}`"), NO_NESTING)),
    };
    data.into_iter().map(text).collect()
}

const NO_NESTING: &str = "a text or a number; only `ContentType::Json` holds lists, objects and null";

fn header_name(name: String) -> Result<HeaderName, AuthenticationError> {
    const WHAT: &str = "a name of `request_headers_with`";
    let name = HeaderName::try_from(name).map_err(|error| unfit(WHAT, "a header name").with_source(error))?;
    check_header_name("request_headers_with", &name)
        .map_err(|error| unfit(WHAT, "one that callers may set").with_source(error))?;
    Ok(name)
}

/// The request cannot be made.
fn unfit(what: &str, expected: &str) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration)
        .with_message(format!("{what}: expected {expected}"))
}

#[async_trait]
impl<P: Place> TokenFetcher for HttpTokenFetcher<P> {
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
            // The server may have used it up, whatever became of the answer.
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
