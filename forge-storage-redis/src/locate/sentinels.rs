use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use forge_core::StorageError;
use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;

use super::{Locate, list};
use crate::addresses::at;
use crate::dialer::Dialer;
use crate::explain::explain;
use crate::poll::poll;

/// The master that sentinels watch over. They are asked again before each attempt to connect.
pub(crate) struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    /// To the sentinels.
    dialer: Arc<Dialer>,
    /// What they call the master.
    name: String,
}

impl Sentinels {
    /// At these addresses, of which there is at least one.
    pub(crate) fn new(addresses: Vec<ConnectionAddr>, dialer: Arc<Dialer>, name: String) -> Self {
        Self { addresses, dialer, name }
    }
}

/// What a sentinel says. The greater the epoch, the newer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    epoch: u64,
    host: String,
    port: u16,
}

#[async_trait]
impl Locate for Sentinels {
    async fn locate(&self) -> Result<ConnectionAddr, StorageError> {
        let words = poll(self.addresses.clone().into_iter().map(|address| {
            let (dialer, name) = (Arc::clone(&self.dialer), self.name.clone());
            async move { ask(&dialer, &address, &name).await }
        }));
        let newest = words.await?.into_iter().max_by_key(|word| word.epoch);
        let newest = newest.ok_or_else(|| StorageError::new("no sentinel knows the master"))?;
        Ok(at(&self.addresses[0], newest.host, newest.port))
    }

    /// Who was the master a moment ago may be none any more.
    async fn verify(&self, connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        let role: redis::Value =
            redis::cmd("ROLE").query_async(connection).await.map_err(|error| explain(&error))?;
        let role = match role {
            redis::Value::Array(parts) => parts.into_iter().next(),
            _ => None,
        };
        match role.map(redis::from_redis_value::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            _ => Err(StorageError::new("what the sentinels name is no master at the moment")),
        }
    }
}

async fn ask(dialer: &Dialer, address: &ConnectionAddr, name: &str) -> Result<Word, StorageError> {
    let mut sentinel = dialer.dial(address).await?;
    let answer = redis::cmd("SENTINEL").arg("MASTER").arg(name).query_async(&mut sentinel).await;
    let answer: HashMap<String, String> = answer.map_err(|error| {
        if error.code() == Some("ERR") {
            return StorageError::new("the sentinels know no master of this name");
        }
        explain(&error)
    })?;
    understand(&answer).ok_or_else(|| StorageError::new("what answers there is no sentinel"))
}

fn understand(answer: &HashMap<String, String>) -> Option<Word> {
    Some(Word {
        epoch: answer.get("config-epoch")?.parse().ok()?,
        host: answer.get("ip").filter(|host| !host.is_empty())?.clone(),
        port: answer.get("port")?.parse().ok()?,
    })
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master {} of the sentinels {}", self.name, list(&self.addresses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(fields: &[(&str, &str)]) -> Option<Word> {
        understand(&fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_a_sentinel_says_has_an_address_and_an_epoch() {
        let (host, port, epoch) = (("ip", "10.0.0.5"), ("port", "6379"), ("config-epoch", "7"));
        let expected = Word { epoch: 7, host: "10.0.0.5".to_owned(), port: 6379 };
        assert_eq!(word(&[host, port, epoch, ("flags", "master")]), Some(expected));
        for strange in [
            &[host, port][..],
            &[host, epoch],
            &[port, epoch],
            &[("ip", ""), port, epoch],
            &[host, ("port", "x"), epoch],
            &[host, port, ("config-epoch", "-1")],
        ] {
            assert_eq!(word(strange), None, "{strange:?}");
        }
    }
}
