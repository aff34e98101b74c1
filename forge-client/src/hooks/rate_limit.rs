mod fields;

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::DATE;

use super::{HookResult, ReceivedResponse, ResponseHook};
use fields::{Item, items, number, text};

/// The rate limit that a response announces.
///
/// The client reads it from these headers, the upper ones first:
///
/// | header | what it says |
/// | --- | --- |
/// | `RateLimit`, `RateLimit-Policy` | the IETF draft's structured fields: of several policies, the one with the least left |
/// | `RateLimit: limit=…, remaining=…, reset=…` | its draft 7 |
/// | `RateLimit-Limit`, `-Remaining`, `-Reset` | its drafts up to 6 |
/// | `X-RateLimit-Limit`, `-Remaining`, `-Reset`, `-Reset-After` | the custom of many APIs, some of which write `X-Rate-Limit-…` |
/// | `Retry-After` | RFC 9110 10.2.3 |
///
/// A server announces a reset in seconds, as a Unix time in seconds or milliseconds (numbers from 10⁹ and 10¹²
/// on), or as an HTTP date. Times are compared with the server's `Date`, so a wrong clock of this machine does
/// no harm. Values that make no sense count as absent.
///
/// ```no_run
/// use requestforge::hooks::RateLimit;
/// use requestforge::{HttpClient, RateLimitReader};
///
/// # async fn run() -> Result<(), requestforge::HttpClientError> {
/// let client = HttpClient::builder("https://api.example.com")
///     .with_response_hook(RateLimitReader)
///     .build()?;
/// let response = client.get("/users").send().await?;
/// if let Some(limit) = response.extensions().get::<RateLimit>() {
///     println!("{:?} of {:?} requests left", limit.remaining(), limit.limit());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset_after: Option<Duration>,
    retry_after: Option<Duration>,
}

impl RateLimit {
    /// Reads these headers; `None` if they announce no limit. `now` is for responses without a `Date`.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let date = text(headers, DATE.as_str()).and_then(|date| httpdate::parse_http_date(&date).ok());
        let now = date.unwrap_or(now);
        let mut found = Self { retry_after: forge_core::retry_after(headers, now), ..Self::default() };
        for read in [structured, draft_7, separate] {
            let said = read(headers, now);
            found.limit = found.limit.or(said.limit);
            found.remaining = found.remaining.or(said.remaining);
            found.reset_after = found.reset_after.or(said.reset_after);
        }
        (found != Self::default()).then_some(found)
    }

    /// How many requests (or what else the server counts) a window allows.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// How many are left in this window.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    /// The time from the response to the beginning of the next window.
    #[must_use]
    pub fn reset_after(&self) -> Option<Duration> {
        self.reset_after
    }

    /// How long the server asks to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Puts a [`RateLimit`] into the extensions of responses that announce one.
///
/// It is that of the response that the caller gets: the newest word. A response before it, such as a 429 that
/// was retried, leaves nothing behind; its `Retry-After` was heeded by the retry.
#[doc(alias = "RateLimitResponseHook")]
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimitReader;

impl ResponseHook for RateLimitReader {
    fn after_response(&self, response: &mut ReceivedResponse<'_>) -> HookResult {
        // An earlier response of the call, such as a redirect, may be another server's.
        response.extensions_mut().remove::<RateLimit>();
        if let Some(limit) = RateLimit::from_headers(response.headers(), SystemTime::now()) {
            response.extensions_mut().insert(limit);
        }
        Ok(())
    }
}

/// `RateLimit: "burst";r=3;t=10` with `RateLimit-Policy: "burst";q=100;w=60`.
fn structured(headers: &HeaderMap, _now: SystemTime) -> RateLimit {
    let (Some(limits), policies) = (text(headers, "ratelimit"), text(headers, "ratelimit-policy")) else {
        return RateLimit::default();
    };
    let limits = items(&limits);
    let tightest = limits
        .iter()
        .filter_map(|limit| Some((limit.number("r")?, limit)))
        .min_by_key(|(remaining, limit)| (*remaining, std::cmp::Reverse(limit.number("t"))));
    let Some((remaining, limit)) = tightest else { return RateLimit::default() };
    let policies = policies.as_deref().map(items).unwrap_or_default();
    let policy = policies.iter().find(|policy| policy.name == limit.name);
    RateLimit {
        limit: policy.and_then(|policy| policy.number("q")),
        remaining: Some(remaining),
        reset_after: limit.number("t").map(Duration::from_secs),
        retry_after: None,
    }
}

/// `RateLimit: limit=100, remaining=50, reset=5`
fn draft_7(headers: &HeaderMap, _now: SystemTime) -> RateLimit {
    let Some(limits) = text(headers, "ratelimit") else { return RateLimit::default() };
    let limits = items(&limits);
    let said = |key: &str| {
        let pair =
            |item: &Item<'_>| item.name.split_once('=').filter(|(name, _)| *name == key)?.1.parse().ok();
        limits.iter().find_map(pair)
    };
    RateLimit {
        limit: said("limit"),
        remaining: said("remaining"),
        reset_after: said("reset").map(Duration::from_secs),
        retry_after: None,
    }
}

/// A header for each.
fn separate(headers: &HeaderMap, now: SystemTime) -> RateLimit {
    let mut found = RateLimit::default();
    for prefix in ["ratelimit-", "x-ratelimit-", "x-rate-limit-"] {
        let name = |what: &str| format!("{prefix}{what}");
        found.limit = found.limit.or_else(|| number(headers, &name("limit")));
        found.remaining = found.remaining.or_else(|| number(headers, &name("remaining")));
        found.reset_after = found
            .reset_after
            .or_else(|| fields::delay(headers, &name("reset-after"), now))
            .or_else(|| fields::delay(headers, &name("reset"), now));
    }
    found
}

#[cfg(test)]
mod tests;
