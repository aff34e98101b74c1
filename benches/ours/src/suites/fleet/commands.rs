use forge_tests::RedisServer;
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{Client, cmd};

use crate::Result;

/// Counts the commands that a Redis server has received.
pub(super) struct Commands(MultiplexedConnection);

/// The commands that connected storages send. Their scripts call none of these.
const SENT: [&str; 2] = ["cmdstat_evalsha", "cmdstat_eval"];

impl Commands {
    pub(super) async fn of(redis: &RedisServer) -> Result<Self> {
        Ok(Self(Client::open(redis.url())?.get_multiplexed_async_connection().await?))
    }

    /// Commands that storages have sent until now.
    pub(super) async fn sent(&self) -> Result<u64> {
        let told: String = cmd("INFO").arg("commandstats").query_async(&mut self.0.clone()).await?;
        Ok(sent(&told))
    }
}

/// Sums the calls in lines such as `cmdstat_eval:calls=7,usec=…`.
fn sent(told: &str) -> u64 {
    let calls = |line: &str| -> Option<u64> {
        let (name, rest) = line.split_once(':')?;
        let calls = rest.strip_prefix("calls=")?.split(',').next()?;
        if SENT.contains(&name) { calls.parse().ok() } else { None }
    };
    told.lines().filter_map(calls).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_that_clients_run_count_and_what_scripts_run_does_not() {
        let told = "# Commandstats\r\ncmdstat_eval:calls=7,usec=90,usec_per_call=12.9\r\n\
                    cmdstat_get:calls=50,usec=1\r\ncmdstat_evalsha:calls=40,usec=9\r\n";
        assert_eq!(sent(told), 47);
        assert_eq!(sent("# Commandstats\r\n"), 0);
    }
}
