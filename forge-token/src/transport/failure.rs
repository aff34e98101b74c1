//! Translates the errors of `reqwest` into errors that repeat nothing that the peer sent.

use std::error::Error;
use std::io;

use forge_core::{AuthenticationError, AuthenticationErrorKind, NetworkError};

const HAS_TLS: bool = cfg!(any(feature = "rustls", feature = "rustls-no-provider", feature = "native-tls"));

/// The error of a call that failed before the client had read the head of a response.
pub(super) fn without_head(error: &reqwest::Error) -> AuthenticationError {
    if error.is_timeout() {
        return timed_out(error);
    }
    if error.is_builder() {
        return failure(AuthenticationErrorKind::Configuration, error);
    }
    if error.is_connect() {
        return without_connection(error);
    }
    if let Some(message) = broken_head(error) {
        return AuthenticationError::new("", AuthenticationErrorKind::UnreadableResponse)
            .with_message(message);
    }
    let unanswered = AuthenticationError::new("", AuthenticationErrorKind::Connect).with_no_answer();
    // An error of the operating system, such as a reset, adds information. `reqwest`'s own error adds none.
    let has_cause = io_errors(error).next().is_some();
    if has_cause { unanswered.with_source(NetworkError::of(error)) } else { unanswered }
}

/// The error of a call that failed while the client read the body of a response.
pub(super) fn within_body(error: &reqwest::Error) -> AuthenticationError {
    if error.is_timeout() {
        return timed_out(error);
    }
    let message = match io_errors(error).last().map(io::Error::kind) {
        Some(
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => "it was cut off",
        _ => "its body is broken",
    };
    failure(AuthenticationErrorKind::UnreadableResponse, error).with_message(message)
}

fn failure(kind: AuthenticationErrorKind, error: &reqwest::Error) -> AuthenticationError {
    AuthenticationError::new("", kind).with_source(NetworkError::of(error))
}

fn timed_out(error: &reqwest::Error) -> AuthenticationError {
    let timed_out = AuthenticationError::new("", AuthenticationErrorKind::Timeout);
    if error.is_connect() { timed_out.with_nothing_sent() } else { timed_out }
}

fn without_connection(error: &reqwest::Error) -> AuthenticationError {
    let is_https = error.url().is_some_and(|url| url.scheme() == "https");
    if is_https && !HAS_TLS {
        let unsent = AuthenticationError::new("", AuthenticationErrorKind::Connect).with_nothing_sent();
        return unsent.with_source(NetworkError::without_tls());
    }
    let unsent = failure(AuthenticationErrorKind::Connect, error).with_nothing_sent();
    // rustls reports a failed handshake as invalid data, also if the server responds in plain HTTP. The platform's library
    // has its own error type, so a failure without an error of the operating system comes from that library.
    let is_tls = is_https
        && (io_errors(error).any(|error| error.kind() == io::ErrorKind::InvalidData)
            || io_errors(error).next().is_none());
    if is_tls { unsent.with_message("the TLS handshake failed") } else { unsent }
}

/// The fault in the head of a response that cannot be parsed. `None`: there was no head to parse.
///
/// `reqwest` does not expose this difference, and this crate does not depend on `hyper`, whose error type does. So this
/// function compares `hyper`'s fixed texts. If a later `hyper` changes them, a response that cannot be parsed is reported
/// as a missing response. The provider repeats the call in both cases.
fn broken_head(error: &reqwest::Error) -> Option<&'static str> {
    causes(error).find_map(|cause| match cause.to_string().as_str() {
        // `hyper` uses the same text for a `Content-Length` that overflows.
        "message head is too large" => Some("its headers or its `Content-Length` are too large"),
        "invalid HTTP version parsed"
        | "invalid HTTP version parsed (found HTTP2 preface)"
        | "invalid HTTP status-code parsed"
        | "invalid HTTP header parsed"
        | "invalid content-length parsed"
        | "unexpected transfer-encoding parsed" => Some("it is not valid HTTP"),
        _ => None,
    })
}

fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>())
}

/// The error and its causes, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // The `source` of an `io::Error` skips the error that it wraps.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        }
    })
}
