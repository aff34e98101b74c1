use chrono::{DateTime, Utc};
use forge_core::{AuthenticationError, AuthenticationErrorKind, OAuthErrorCode, ResponseFields, TokenData};
use serde_json::Value;

use super::presentable::presentable;
use crate::TokenResponse;

/// Makes a token, or the error that says why there is none, of a token endpoint's answer
/// (RFC 6749 5.1, 5.2). None of `secrets` gets into an error, even if the server echoes it.
pub(super) fn read_token(
    response: &TokenResponse,
    sent_at: DateTime<Utc>,
    secrets: &[&str],
) -> Result<TokenData, AuthenticationError> {
    let error = |kind| {
        let error = AuthenticationError::new("", kind).with_status(response.status);
        match forge_core::retry_after(&response.headers, sent_at.into()) {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    };
    // Some servers put a byte order mark in front; what they mean is plain.
    let body = response.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&response.body);
    if body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > MOST_VALUES {
        return Err(
            error(AuthenticationErrorKind::InvalidResponse).with_message("the answer has too many parts")
        );
    }
    let answer: Option<Value> = serde_json::from_slice(body).ok();

    // Some servers report errors with status 200.
    if let Some(code) = answer.as_ref().and_then(|answer| answer.get("error")?.as_str()) {
        // What it sends along with an error may be a token, and may be in its words too.
        let tokens = ["access_token", "refresh_token", "id_token"];
        let tokens = tokens.iter().filter_map(|field| answer.as_ref()?.get(field)?.as_str());
        let secrets: Vec<&str> = secrets.iter().copied().chain(tokens).collect();
        let secrets = secrets.as_slice();
        let description = answer.as_ref().and_then(|answer| answer.get("error_description")?.as_str());
        let code = OAuthErrorCode::from(presentable(code, 64, secrets).as_str());
        let refused = error(AuthenticationErrorKind::Refused(code));
        return Err(match description {
            Some(text) => refused.with_message(presentable(text, 200, secrets)),
            None => refused,
        });
    }
    if response.status.is_redirection() {
        return Err(error(AuthenticationErrorKind::Status)
            .with_message("redirects of a token endpoint are not followed"));
    }
    if !response.status.is_success() {
        return Err(error(AuthenticationErrorKind::Status));
    }
    let invalid = || error(AuthenticationErrorKind::InvalidResponse);
    let answer = answer.ok_or_else(|| invalid().with_message("it is not JSON"))?;
    let token = TokenData::from_response_at(&answer, &ResponseFields::default(), sent_at)
        .map_err(|cause| invalid().with_message(cause.to_string()))?;
    understood(token)
        .ok_or_else(|| invalid().with_message("field `token_type`: expected `Bearer`, found another"))
}

/// A megabyte of tiny values would take a hundred times as much memory once parsed.
const MOST_VALUES: usize = 4_096;

/// A token of a type that we cannot send must not be used (RFC 6749 7.1). `BearerToken` is what some
/// gateways call a Bearer token.
fn understood(token: TokenData) -> Option<TokenData> {
    match token.token_type() {
        "Bearer" => Some(token),
        other if other.eq_ignore_ascii_case("BearerToken") => Some(token.with_token_type("Bearer")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use http::header::RETRY_AFTER;

    use super::*;

    fn read(status: u16, body: &str) -> Result<TokenData, AuthenticationError> {
        let response = TokenResponse::new(StatusCode::from_u16(status).unwrap(), body.to_owned().into());
        read_token(&response, DateTime::UNIX_EPOCH, &["canary"])
    }

    #[test]
    fn a_token_is_read_also_behind_a_byte_order_mark() {
        assert_eq!(read(200, r#"{"access_token":"a"}"#).unwrap().access_token(), "a");
        assert_eq!(read(200, "\u{feff}{\"access_token\":\"a\"}").unwrap().access_token(), "a");
    }

    #[test]
    fn an_error_code_is_typed_whatever_the_status() {
        for status in [400, 401, 200, 500] {
            let error = read(status, r#"{"error":"invalid_client","error_description":"who?"}"#).unwrap_err();
            assert!(error.is_invalid_client());
            assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
            assert!(error.to_string().ends_with(": who?"), "{error}");
        }
    }

    #[test]
    fn what_is_no_token_is_an_error() {
        use AuthenticationErrorKind::{InvalidResponse, Status};
        for (status, body, kind) in [
            (200, "", InvalidResponse),
            (204, "", InvalidResponse),
            (200, "<html></html>", InvalidResponse),
            (200, "[]", InvalidResponse),
            (200, "{}", InvalidResponse),
            (307, "", Status),
            (400, "", Status),
            (403, "<html></html>", Status),
            (503, "", Status),
        ] {
            assert_eq!(*read(status, body).unwrap_err().kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn inv16_what_the_server_echoes_is_cut_cleaned_and_masked() {
        let echo =
            format!(r#"{{"error":"bad canary","error_description":"no\r\n canary {}"}}"#, "x".repeat(500));
        let error = read(400, &echo).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary") && !shown.contains('\r') && !shown.contains('\n'), "{shown}");
        assert!(error.to_string().len() < 400);
    }

    #[test]
    fn inv08_retry_after_is_read_in_seconds_and_as_a_date() {
        let now = DateTime::from_timestamp(784_111_777, 0).unwrap();
        for (value, delay) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("99999999999", Some(99_999_999_999)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            let mut response = TokenResponse::new(StatusCode::SERVICE_UNAVAILABLE, "".into());
            response.headers.insert(RETRY_AFTER, value.parse().unwrap());
            let error = read_token(&response, now, &[]).unwrap_err();
            assert_eq!(error.retry_after(), delay.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn only_bearer_tokens_are_understood() {
        for (token_type, understood) in [
            ("Bearer", true),
            ("bearer", true),
            ("BEARER", true),
            ("BearerToken", true),
            ("mac", false),
            ("DPoP", false),
            ("N_A", false),
        ] {
            let token = read(200, &format!(r#"{{"access_token":"a","token_type":"{token_type}"}}"#));
            assert_eq!(token.is_ok(), understood, "{token_type}");
            if let Ok(token) = token {
                assert_eq!(token.authorization_header(), "Bearer a");
            }
        }
    }
}
