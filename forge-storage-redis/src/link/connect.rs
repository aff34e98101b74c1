//! How one connects, and what is said when that fails.

use std::convert::Infallible;
use std::sync::Arc;

use forge_core::StorageError;
use redis::{AsyncConnectionConfig, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value};

use super::{Shared, Signals, Up};

/// A connection that hears what is announced, to a server that knows the scripts.
///
/// # Errors
///
/// The server cannot be reached, or does not let us in.
pub(super) async fn connect(shared: &Shared) -> Result<Up, RedisError> {
    let signals = Arc::new(Signals::default());
    let (ear, ending) = (Arc::clone(&shared.announcements), Arc::clone(&signals));
    let hear = move |push: PushInfo| {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message, [_channel, Value::BulkString(message)]) => ear.hear(message),
            (PushKind::Disconnection, _) => ending.lost.notify_one(),
            _ => {}
        }
        Ok::<(), Infallible>(())
    };
    // Deadlines are ours: see `Limits`.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(hear);
    let mut connection = shared.client.get_multiplexed_async_connection_with_config(&config).await?;
    connection.subscribe(shared.announcements.channel()).await?;
    // Else the first call of each would take three times as long.
    shared.scripts.load(&mut connection).await?;
    Ok(Up { connection, signals })
}

/// Whether the connection is of no use after this. An answer that is not what was expected is none of its
/// faults.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    // A server that has become a replica refuses to write, whatever is asked.
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    is_replica || error.is_io_error() || error.is_connection_dropped()
}

/// What a person should read. A server's own words stay out: they may quote a command, and so a token.
pub(super) fn explain(error: &RedisError) -> StorageError {
    // A code is a word in capitals; what is none may be anything.
    let is_code = |code: &&str| code.len() <= 20 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = error.code().filter(is_code).unwrap_or_default();
    let text = match (code, error.kind()) {
        ("NOAUTH" | "WRONGPASS", _) | (_, ErrorKind::AuthenticationFailed) => {
            "Redis refused the login: user or password is wrong, or there is none".to_owned()
        }
        ("NOPERM", _) => "Redis refused: the user lacks a permission (NOPERM)".to_owned(),
        (_, ErrorKind::RESP3NotSupported) => "the server does not speak RESP3 (Redis 6 or later)".to_owned(),
        (_, ErrorKind::Io) => {
            let cause =
                std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<std::io::Error>());
            let cause = cause.map_or_else(|| "it was cut".to_owned(), |cause| cause.kind().to_string());
            format!("the connection to Redis failed: {cause}")
        }
        ("", _) => format!("Redis: {}", error.category()),
        (code, _) => format!("Redis refused: {code}"),
    };
    StorageError::new(text)
}
