//! The texts of errors. They never contain the server's own text, which may quote a command, and so a token.

use std::io;
use std::sync::Arc;

use forge_core::StorageError;
use redis::{ErrorKind, RedisError};

use crate::system_error::system_error_text;

/// The error of this crate for an error of the redis crate.
pub(crate) fn explain(error: &RedisError) -> StorageError {
    // An error code is a short word in capitals. Any other first word may be part of a secret.
    let is_code = |code: &&str| code.len() <= 20 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = error.code().filter(is_code).unwrap_or_default();
    let text = match (code, error.kind()) {
        ("NOAUTH" | "WRONGPASS", _) | (_, ErrorKind::AuthenticationFailed) => {
            "Redis refused the login: user or password is wrong or missing".to_owned()
        }
        ("NOPERM", _) => "Redis refused the command: the user lacks a permission (NOPERM)".to_owned(),
        ("ERR", _) if error.to_string().contains("unknown command") => {
            "the server lacks a necessary command: it is a sentinel, or an old Redis".to_owned()
        }
        ("MOVED" | "ASK", _) => {
            "this server is part of a cluster: use `RedisTokenStorage::cluster`".to_owned()
        }
        (_, ErrorKind::RESP3NotSupported) => "the server does not speak RESP3 (Redis 6 or later)".to_owned(),
        (_, ErrorKind::Io) => format!("cannot connect to Redis: {}", cause(error)),
        (_, ErrorKind::Parse) => "the server at this address is not Redis".to_owned(),
        ("", _) => format!("Redis: {}", error.category()),
        (code, _) => format!("Redis refused the command: {code}"),
    };
    StorageError::new(text)
}

/// The error for a node that should announce its host name and has none.
pub(crate) fn missing_host_name_error() -> StorageError {
    StorageError::new(
        "a node of the cluster announces no host name: set its `cluster-announce-hostname`, or another \
         `cluster-preferred-endpoint-type`",
    )
}

/// The text for a failure of the connection: the error of the operating system or of TLS.
fn cause(error: &RedisError) -> String {
    let source = std::error::Error::source(error);
    // The redis crate keeps the error behind an `Arc`, so `source` points to that.
    let source = source.and_then(|source| source.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>());
    let Some(io) = source.and_then(|source| source.downcast_ref::<io::Error>()) else {
        return "the connection was cut".to_owned();
    };
    #[cfg(feature = "rustls-no-provider")]
    if let Some(refusal) = crate::tls::handshake_failure(io) {
        return refusal;
    }
    system_error_text(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_system_says_is_told() {
        for (url, expected) in [
            ("redis://127.0.0.1:1", "connection refused"),
            ("redis://host.invalid", "the host is not found"),
            ("redis+unix:///nowhere/at/all", "entity not found"),
        ] {
            let client = redis::Client::open(url).unwrap();
            let error = client.get_multiplexed_async_connection().await.unwrap_err();
            let told = explain(&error).to_string();
            assert!(told.ends_with(expected), "{told}");
        }
    }
}
