use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, FromRedisValue, RedisError, RedisResult, ScriptInvocation, ServerErrorKind};

/// Calls a script at a server to which its keys are about to move.
///
/// # Errors
///
/// As of the script without that.
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
    // It is for the next command on the connection: nobody else's is to come between.
    let mut pipe = redis::pipe();
    pipe.cmd("ASKING").ignore().invoke_script(script);
    match pipe.query_async(connection).await {
        Ok((answer,)) => Ok(answer),
        Err(error) => Err(of_the_script(error)),
    }
}

/// That of the pipeline does not say where to go instead.
fn of_the_script(error: RedisError) -> RedisError {
    let within = error.clone().into_server_errors();
    let last = within.as_deref().and_then(<[_]>::last).cloned();
    last.map_or(error, |(_, error)| error.into())
}
