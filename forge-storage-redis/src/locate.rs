//! Which server a link is to.

mod sentinels;

use std::fmt;

use async_trait::async_trait;
use forge_core::StorageError;
use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;

use crate::dialer::Ready;
pub(crate) use sentinels::Sentinels;

/// Asked before each attempt to connect. Its text is for people.
#[async_trait]
pub(crate) trait Locate: fmt::Display + Send + Sync {
    /// Where the server is now. The dialer is that to the server itself.
    ///
    /// # Errors
    ///
    /// Nobody knows, at the moment; or nobody needs to.
    async fn locate(&self, dialer: &Ready) -> Result<ConnectionAddr, Nowhere>;

    /// Whether what was connected to is what was looked for.
    ///
    /// # Errors
    ///
    /// It is not.
    async fn verify(&self, _connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        Ok(())
    }

    /// Returns when what is there is not the server any more, though it may go on answering.
    async fn moves(&self, _from: &ConnectionAddr) {
        std::future::pending::<()>().await;
    }
}

/// Why there is nothing to connect to.
#[derive(Debug)]
pub(crate) enum Nowhere {
    /// So far.
    Unknown(StorageError),
    /// Another link leads there: this one is not needed any more.
    Needless,
}

impl From<StorageError> for Nowhere {
    fn from(error: StorageError) -> Self {
        Self::Unknown(error)
    }
}

/// One server that stays where it is.
pub(crate) struct Standalone(pub(crate) ConnectionAddr);

#[async_trait]
impl Locate for Standalone {
    async fn locate(&self, _dialer: &Ready) -> Result<ConnectionAddr, Nowhere> {
        Ok(self.0.clone())
    }
}

impl fmt::Display for Standalone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Host and port, or a path: no login.
        self.0.fmt(f)
    }
}

/// The addresses, for people.
pub(crate) fn list(addresses: &[ConnectionAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
