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
    let mut ask = redis::pipe();
    // While a sentinel has others follow a new master, its own record of the master has the new epoch and
    // still the old address.
    ask.cmd("SENTINEL").arg("MASTER").arg(name).cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer = ask.query_async(&mut sentinel).await;
    let (record, address): (HashMap<String, String>, Option<(String, u16)>) = answer.map_err(|error| {
        if error.code() == Some("ERR") {
            return StorageError::new("the sentinels know no master of this name");
        }
        explain(&error)
    })?;
    understand(&record, address).ok_or_else(|| StorageError::new("what answers there is no sentinel"))
}

fn understand(record: &HashMap<String, String>, address: Option<(String, u16)>) -> Option<Word> {
    let epoch = record.get("config-epoch")?.parse().ok()?;
    let (host, port) = address.filter(|(host, _)| !host.is_empty())?;
    Some(Word { epoch, host, port })
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "master {} of the sentinels {}", self.name, list(&self.addresses))
    }
}
