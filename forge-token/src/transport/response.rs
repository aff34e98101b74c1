use chrono::{DateTime, Utc};
use forge_core::{AuthenticationError, AuthenticationErrorKind, OAuthErrorCode, ResponseFields, TokenData};
use serde_json::Value;

use super::TokenResponse;
use super::presentable::presentable;

impl TokenResponse {
    /// Reads the token of a response, or the reason why there is none (RFC 6749 5.1, 5.2). The lifetime of the token counts
    /// from `sent_at`. Pass all secrets of the request as `secrets`: this method masks them in errors, even if the server
    /// echoes them.
    ///
    /// # Errors
    ///
    /// The endpoint refused, or its response contains no usable token.
    pub fn read_token(
        &self,
        fields: &ResponseFields,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<TokenData, AuthenticationError> {
        let body = self.parsed();
        let tokens = body.json().into_iter().flat_map(|answer| fields.tokens_in(answer));
        let secrets: Vec<&str> = secrets.iter().copied().chain(tokens).collect();
        self.check_parsed(&body, sent_at, &secrets)?;
        let answer = match body {
            ParsedBody::Json(answer) => answer,
            ParsedBody::TooManyValues => return Err(self.invalid("the response contains too many values")),
            ParsedBody::NotJson => return Err(self.invalid("the response is not JSON")),
        };
        TokenData::from_response_at(&answer, fields, sent_at).map_err(|cause| self.invalid(cause.to_string()))
    }

    /// Checks that the endpoint accepted the call, for responses whose token is not in the body. See
    /// [`read_token`](Self::read_token) for the arguments.
    ///
    /// # Errors
    ///
    /// The endpoint refused.
    pub fn check(&self, sent_at: DateTime<Utc>, secrets: &[&str]) -> Result<(), AuthenticationError> {
        self.check_parsed(&self.parsed(), sent_at, secrets)
    }

    /// The error for a response that contains no usable token. Do not put a secret in the message.
    #[must_use]
    pub fn invalid(&self, message: impl Into<String>) -> AuthenticationError {
        AuthenticationError::new("", AuthenticationErrorKind::InvalidResponse)
            .with_status(self.status)
            .with_message(message)
    }

    fn parsed(&self) -> ParsedBody {
        // Some servers send a byte order mark before the JSON.
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        if body.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > MAX_VALUES {
            return ParsedBody::TooManyValues;
        }
        serde_json::from_slice(body).map_or(ParsedBody::NotJson, ParsedBody::Json)
    }

    fn check_parsed(
        &self,
        body: &ParsedBody,
        sent_at: DateTime<Utc>,
        secrets: &[&str],
    ) -> Result<(), AuthenticationError> {
        let error = |kind| {
            let error = AuthenticationError::new("", kind).with_status(self.status);
            match forge_core::retry_after(&self.headers, sent_at.into()) {
                Some(delay) => error.with_retry_after(delay),
                None => error,
            }
        };
        // Some servers report errors with the status 200.
        if let Some(answer) = body.json()
            && let Some(code) = answer.get("error").and_then(Value::as_str)
            // Some servers send an empty error beside each token.
            && !code.trim().is_empty()
        {
            // An error response may contain a token, and its texts may repeat that token. So mask these tokens, too.
            let tokens = ResponseFields::default();
            let id_token = answer.get("id_token").and_then(Value::as_str);
            let tokens = tokens.tokens_in(answer).chain(id_token);
            let secrets: Vec<&str> = secrets.iter().copied().chain(tokens).collect();
            let code = match OAuthErrorCode::from(code) {
                OAuthErrorCode::Other(code) => OAuthErrorCode::from(&*presentable(&code, 64, &secrets)),
                // A code of RFC 6749 is no secret.
                listed => listed,
            };
            let refused = error(AuthenticationErrorKind::Refused(code));
            return Err(match answer.get("error_description").and_then(Value::as_str) {
                Some(text) => refused.with_message(presentable(text, 200, &secrets)),
                None => refused,
            });
        }
        if self.status.is_redirection() {
            return Err(error(AuthenticationErrorKind::Status)
                .with_message("the client does not follow redirects of a token endpoint"));
        }
        if !self.status.is_success() {
            return Err(error(AuthenticationErrorKind::Status));
        }
        Ok(())
    }
}

enum ParsedBody {
    Json(Value),
    TooManyValues,
    NotJson,
}

impl ParsedBody {
    fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(answer) => Some(answer),
            Self::TooManyValues | Self::NotJson => None,
        }
    }
}

/// Attack: a megabyte of tiny values takes a hundred times as much memory once it is parsed.
const MAX_VALUES: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;
    use http::header::RETRY_AFTER;

    use super::*;

    fn read(status: u16, body: &str) -> Result<TokenData, AuthenticationError> {
        let response = TokenResponse::new(StatusCode::from_u16(status).unwrap(), body.to_owned().into());
        response.read_token(&ResponseFields::default(), DateTime::UNIX_EPOCH, &["canary"])
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
    fn an_empty_error_code_is_none() {
        for code in [r#""""#, r#"" ""#, "null"] {
            let answer = format!(r#"{{"access_token":"a","error":{code},"error_description":""}}"#);
            assert_eq!(read(200, &answer).unwrap().access_token(), "a");
            for (status, kind) in
                [(200, AuthenticationErrorKind::InvalidResponse), (400, AuthenticationErrorKind::Status)]
            {
                let error = read(status, &format!(r#"{{"error":{code}}}"#)).unwrap_err();
                assert_eq!((error.kind(), error.oauth_error_code()), (&kind, None), "{status} {code}");
            }
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
            let error = response.check(now, &[]).unwrap_err();
            assert_eq!(error.retry_after(), delay.map(Duration::from_secs), "{value:?}");
        }
    }
}
