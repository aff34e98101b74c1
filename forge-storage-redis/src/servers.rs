use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use forge_core::StorageError;
use redis::{FromRedisValue, ScriptInvocation};

use crate::cluster::Cluster;
use crate::keys::Keys;
use crate::link::{Link, Up, Wait};

/// Where the tokens are: all on one server, or each at its place in a cluster.
pub(crate) enum Servers {
    One(Arc<Link>),
    Cluster(Cluster),
}

impl Servers {
    /// Calls a script at the server that has these keys. It is made anew for each server that is tried, by
    /// whose clock it may have to be written.
    ///
    /// # Errors
    ///
    /// The server refused, or did not answer in time; then nobody knows whether it did what it was asked.
    pub(crate) async fn call<'s, T: FromRedisValue>(
        &self,
        keys: &Keys,
        mut script: impl FnMut(&Up) -> Result<ScriptInvocation<'s>, StorageError>,
    ) -> Result<T, StorageError> {
        match self {
            Self::One(link) => {
                let wait = Wait::begin();
                let up = link.up(wait).await?;
                Ok(link.call(&up, wait, &script(&up)?, false).await?)
            }
            Self::Cluster(cluster) => cluster.call(keys.slot(), script).await,
        }
    }

    /// When the server that has these keys cannot be used any more, or at once.
    pub(crate) async fn go_down(&self, keys: &Keys) {
        match self {
            Self::One(link) => link.goes_down().await,
            Self::Cluster(cluster) => cluster.link(keys.slot()).goes_down().await,
        }
    }

    pub(crate) fn command_limit(&self) -> Duration {
        match self {
            Self::One(link) => link.command_limit(),
            Self::Cluster(cluster) => cluster.command_limit(),
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(link) => link.fmt(f),
            Self::Cluster(cluster) => cluster.fmt(f),
        }
    }
}
