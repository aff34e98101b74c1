//! The headers that are known to carry no credential.
//!
//! No list of the names of credentials is complete. So this module lists names that credentials never have.

use forge_core::ConfigError;
use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};

/// Whether a header of this name may go to any origin. The log shows its value.
pub(crate) fn is_public(name: &HeaderName) -> bool {
    let name = name.as_str();
    PUBLIC.contains(&name) || PUBLIC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the log shows the value of a header of this name, although the header does not go to every origin:
/// other origins do not need it, or only servers send it.
pub(crate) fn is_harmless(name: &HeaderName) -> bool {
    HARMLESS.contains(&name.as_str())
}

/// Refuses the names of headers that carry credentials: no setting may make these public.
pub(crate) fn check_public(name: &HeaderName, credentials: &[HeaderName]) -> Result<(), ConfigError> {
    if [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE].contains(name) || credentials.contains(name) {
        let expected = format!("headers that carry no credential, unlike `{name}`");
        return Err(ConfigError::new("public_header", expected));
    }
    Ok(())
}

/// The headers that content negotiation, caches (RFC 9110, RFC 9111) and tracing (W3C Trace Context) need.
const PUBLIC: [&str; 8] = [
    "accept",
    "cache-control",
    "range",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
];

const PUBLIC_PREFIXES: [&str; 3] = ["accept-", "content-", "if-"];

/// The headers that by their standards carry no credential (RFC 9110 to 9112, RFC 8594, RFC 9745), and the
/// numbers of a rate limit.
const HARMLESS: [&str; 34] = [
    "age",
    "allow",
    "connection",
    "date",
    "deprecation",
    "etag",
    "expect",
    "expires",
    "host",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-policy",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "server",
    "sunset",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-rate-limit-limit",
    "x-rate-limit-remaining",
    "x-rate-limit-reset",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];
