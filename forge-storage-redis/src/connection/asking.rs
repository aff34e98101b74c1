use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind};

/// Calls a script at a server that is importing the script's keys.
///
/// # Errors
///
/// As for a call without `ASKING`.
pub(super) async fn call_asking<T: FromRedisValue>(
    script: &ScriptInvocation<'_>,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    match try_asking(script, connection).await {
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            script.load_async(connection).await?;
            try_asking(script, connection).await
        }
        answer => answer,
    }
}

async fn try_asking<T: FromRedisValue>(
    script: &ScriptInvocation<'_>,
    connection: &mut MultiplexedConnection,
) -> RedisResult<T> {
    // Race: `ASKING` applies to the next command on the connection, so no command of another task may come between. A
    // pipeline sends both together.
    let mut pipe = redis::pipe();
    pipe.cmd("ASKING").ignore().invoke_script(script);
    match pipe.query_async(connection).await {
        Ok((answer,)) => Ok(answer),
        Err(error) => Err(script_error(error)),
    }
}

/// The error of the script itself. The error of the pipeline does not name the server to which a redirect leads.
fn script_error(error: RedisError) -> RedisError {
    let within = error.clone().into_server_errors();
    let last = within.as_deref().and_then(<[_]>::last).cloned();
    last.map_or(error, |(_, error)| error.into())
}
