use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::StorageError;
use redis::{FromRedisValue, ScriptInvocation};

use crate::cluster::Cluster;
use crate::connection::{CallTimes, LiveConnection, SupervisedConnection};
use crate::keys::Keys;

/// The servers of a storage: one, or a cluster.
pub(crate) enum Servers {
    One(Arc<SupervisedConnection>),
    Cluster(Cluster),
}

impl Servers {
    /// Calls a script at the server that has these keys. Each attempt calls `script` anew, because it may contain times by
    /// the clock of that server.
    ///
    /// # Errors
    ///
    /// The server refused, or did not answer in time. After a time-out the script may or may not have run.
    pub(crate) async fn call<'s, T: FromRedisValue>(
        &self,
        keys: &Keys,
        mut script: impl FnMut(&LiveConnection) -> Result<ScriptInvocation<'s>, StorageError>,
    ) -> Result<T, StorageError> {
        match self {
            Self::One(connection) => {
                let times = CallTimes::begin();
                let live = connection.live(times).await?;
                Ok(connection.call(&live, times, &script(&live)?, false).await?)
            }
            Self::Cluster(cluster) => cluster.call(keys.slot(), script).await,
        }
    }

    /// Returns when the connection to the server that has these keys is down, possibly at once.
    pub(crate) async fn wait_until_down(&self, keys: &Keys) {
        match self {
            Self::One(connection) => connection.wait_until_down().await,
            Self::Cluster(cluster) => cluster.connection(keys.slot()).wait_until_down().await,
        }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        match self {
            Self::One(connection) => connection.command_limit(),
            Self::Cluster(cluster) => cluster.command_limit(),
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(connection) => connection.fmt(f),
            Self::Cluster(cluster) => cluster.fmt(f),
        }
    }
}
