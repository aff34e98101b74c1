use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};

use crate::challenge::{Challenge, challenges};

/// The verdict of a response on the credential that its request carried.
///
/// ```
/// use requestforge::auth::AuthVerdict;
/// use requestforge::http::header::WWW_AUTHENTICATE;
/// use requestforge::http::{HeaderMap, HeaderValue, StatusCode};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(AuthVerdict::of(StatusCode::UNAUTHORIZED, &headers), AuthVerdict::TokenRejected);
/// headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"insufficient_scope\""));
/// assert_eq!(AuthVerdict::of(StatusCode::UNAUTHORIZED, &headers), AuthVerdict::AccessDenied);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthVerdict {
    /// The server accepted the credential. Tell it with [`mark_accepted`](crate::Credential::mark_accepted).
    Accepted,
    /// The response says nothing about the credential.
    Unknown,
    /// The server rejected the token, and another token may help: see
    /// [`refresh_rejected`](crate::TokenSource::refresh_rejected).
    TokenRejected,
    /// The server denied access, and denies it to every other token of the same kind.
    AccessDenied,
}

impl AuthVerdict {
    /// The verdict that follows from status and challenge (RFC 6750 3.1). A 401 asks for another token, unless its
    /// error is `insufficient_scope` or `invalid_request`. Only the `error` of a `Bearer` or `DPoP` challenge counts;
    /// the response may contain other challenges, too (RFC 9110 11.6.1).
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        // A 304 answers a conditional request, so the server accepted the credential. Any other redirect may lead to a
        // login page; a client that follows it judges the final response.
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Self::Accepted;
        }
        if status != StatusCode::UNAUTHORIZED {
            return Self::Unknown;
        }
        if denies_access(headers) { Self::AccessDenied } else { Self::TokenRejected }
    }
}

/// Whether a challenge of a token scheme says that no other token of this kind helps.
fn denies_access(headers: &HeaderMap) -> bool {
    headers.get_all(WWW_AUTHENTICATE).iter().any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes());
        challenges(&value).iter().filter(|challenge| is_token_scheme(challenge)).any(has_final_error)
    })
}

/// Whether the scheme is one whose `error` RFC 6750 3 or RFC 9449 7.1 defines.
fn is_token_scheme(challenge: &Challenge<'_>) -> bool {
    ["Bearer", "DPoP"].iter().any(|scheme| challenge.scheme.eq_ignore_ascii_case(scheme))
}

fn has_final_error(challenge: &Challenge<'_>) -> bool {
    let mut parameters = challenge.parameters.iter();
    parameters
        .any(|(name, value)| name.eq_ignore_ascii_case("error") && FINAL_ERRORS.contains(&value.as_ref()))
}

const FINAL_ERRORS: [&str; 2] = ["insufficient_scope", "invalid_request"];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn inv12_challenges_decide_whether_another_token_may_help() {
        use AuthVerdict::{Accepted, AccessDenied, TokenRejected, Unknown};
        for (status, challenges, verdict) in [
            (200, &[][..], Accepted),
            (304, &[], Accepted),
            (302, &[], Unknown),
            (303, &[], Unknown),
            (403, &[], Unknown),
            (403, &["Bearer error=\"insufficient_scope\""], Unknown),
            (500, &[], Unknown),
            (407, &[], Unknown),
            (401, &[], TokenRejected),
            (401, &["Bearer"], TokenRejected),
            (401, &["Bearer realm=\"api\""], TokenRejected),
            (
                401,
                &["Bearer realm=\"a, b\", error=\"invalid_token\", error_description=\"expired\""],
                TokenRejected,
            ),
            (401, &["Basic realm=\"x\""], TokenRejected),
            (401, &["Bearer error=\"token_expired\""], TokenRejected),
            (401, &["bearer ERROR=insufficient_scope, scope=\"admin\""], AccessDenied),
            (401, &["Bearer error=\"invalid_request\""], AccessDenied),
            (401, &["Basic realm=\"x\"", "Bearer error=\"insufficient_scope\""], AccessDenied),
            (401, &["Basic realm=\"x\", Bearer error=\"insufficient_scope\""], AccessDenied),
            (401, &["Bearer realm=\"error=insufficient_scope\""], TokenRejected),
            (401, &["Negotiate YWJjZA==, Bearer error=\"insufficient_scope\""], AccessDenied),
            (401, &["Bearer realm=\"x\" error=\"insufficient_scope\""], AccessDenied),
            (401, &["=,\"garbage", "Bearer error=\"unterminated"], TokenRejected),
            // Only the `error` of a token scheme counts.
            (401, &["Basic error=\"insufficient_scope\", Bearer error=\"invalid_token\""], TokenRejected),
            (401, &["Basic error=\"insufficient_scope\"", "Bearer error=\"invalid_token\""], TokenRejected),
            (401, &["Bearer error=\"invalid_token\", Custom error=\"invalid_request\""], TokenRejected),
            (401, &["Negotiate error=\"insufficient_scope\""], TokenRejected),
            (401, &["error=\"insufficient_scope\""], TokenRejected),
            (401, &["Negotiate YWJjZA==, Basic error=\"insufficient_scope\", Bearer"], TokenRejected),
            (
                401,
                &["Negotiate YWJjZA==,Bearer error=\"invalid_token\" , Basic error=\"invalid_request\""],
                TokenRejected,
            ),
            (401, &["DPoP error=\"insufficient_scope\", algs=\"ES256 PS256\""], AccessDenied),
            (401, &["Bearer, dpop algs=\"ES256\", error=\"invalid_request\""], AccessDenied),
            (
                401,
                &["Basic realm=\"a, Bearer error=\\\"insufficient_scope\\\"\", charset=\"UTF-8\""],
                TokenRejected,
            ),
            (401, &["Basic realm=\"\\\\\", Bearer error=\"insufficient_scope\""], AccessDenied),
            (401, &["Basic, Bearer error = \"insufficient\\_scope\""], AccessDenied),
            (401, &["Basic realm=\"x\" Bearer realm=\"y\" error=\"insufficient_scope\""], AccessDenied),
            (401, &["Basic realm=\"x\" error=\"insufficient_scope\" Bearer realm=\"y\""], TokenRejected),
            (401, &["Basic realm=\"x", "Bearer error=\"insufficient_scope\""], AccessDenied),
        ] {
            let headers =
                challenges.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value))).collect();
            assert_eq!(
                AuthVerdict::of(StatusCode::from_u16(status).unwrap(), &headers),
                verdict,
                "{status} {challenges:?}"
            );
        }
    }
}
