//! Finds the server to which a connection leads.

mod sentinels;

use std::fmt;

use async_trait::async_trait;
use forge_core::StorageError;
use redis::ConnectionAddr;
use redis::aio::MultiplexedConnection;

use crate::dialer::ReadyDialer;
pub(crate) use sentinels::Sentinels;

/// Finds the address of a server. A supervisor calls this before each attempt to connect. `Display` names the server in
/// logs and errors.
#[async_trait]
pub(crate) trait Discovery: fmt::Display + Send + Sync {
    /// The server's current address. `dialer` connects to the server itself.
    ///
    /// # Errors
    ///
    /// No address is known at the moment, or the connection is superseded.
    async fn locate(&self, dialer: &ReadyDialer) -> Result<ConnectionAddr, DiscoveryError>;

    /// Checks that the connected server is the right one. Race: it may have changed its role since `locate`.
    ///
    /// # Errors
    ///
    /// The server is another one, or is not a master.
    async fn verify(&self, _connection: &mut MultiplexedConnection) -> Result<(), StorageError> {
        Ok(())
    }

    /// Returns when another server has taken over from the one at this address, which may go on answering.
    async fn wait_until_moved(&self, _from: &ConnectionAddr) {
        std::future::pending::<()>().await;
    }
}

/// The reason why discovery has no address.
#[derive(Debug)]
pub(crate) enum DiscoveryError {
    /// The address is unknown for now.
    Unknown(StorageError),
    /// Another connection leads to the same server, so this one is not needed any more.
    Superseded,
}

impl From<StorageError> for DiscoveryError {
    fn from(error: StorageError) -> Self {
        Self::Unknown(error)
    }
}

/// A server at a fixed address.
pub(crate) struct FixedAddress(pub(crate) ConnectionAddr);

#[async_trait]
impl Discovery for FixedAddress {
    async fn locate(&self, _dialer: &ReadyDialer) -> Result<ConnectionAddr, DiscoveryError> {
        Ok(self.0.clone())
    }
}

impl fmt::Display for FixedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Host and port, or a path, without the login.
        self.0.fmt(f)
    }
}

/// The addresses, for logs and errors.
pub(crate) fn list(addresses: &[ConnectionAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
