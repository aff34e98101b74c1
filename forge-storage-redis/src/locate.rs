//! Which server a link is to.

mod sentinels;

use std::fmt;

use async_trait::async_trait;
use forge_core::StorageError;
use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;

pub(crate) use sentinels::Sentinels;

/// Asked before each attempt to connect. Its text is for people.
#[async_trait]
pub(crate) trait Locate: fmt::Display + Send + Sync {
    /// Where the server is now.
    ///
    /// # Errors
    ///
    /// Nobody knows, at the moment.
    async fn locate(&self) -> Result<ConnectionAddr, StorageError>;

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

/// One server that stays where it is.
pub(crate) struct Standalone(pub(crate) ConnectionAddr);

#[async_trait]
impl Locate for Standalone {
    async fn locate(&self) -> Result<ConnectionAddr, StorageError> {
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
