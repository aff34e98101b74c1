//! The runtimes and servers that every suite uses.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::token_server::TokenServer;

/// The runtime of the measured callers, and a second one for the servers, on a thread of its own.
pub struct World {
    pub callers: Runtime,
    pub servers: Runtime,
}

impl World {
    pub fn new() -> Result<Self, Failure> {
        // Libraries that were built without a crypto provider use this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let runtime = |threads| Builder::new_multi_thread().worker_threads(threads).enable_all().build();
        Ok(Self { callers: runtime(2)?, servers: runtime(1)? })
    }

    /// A token endpoint whose calls take this long. Call this within the callers' runtime.
    pub async fn token_server(&self, delay: Duration, lifetime: Duration) -> Result<TokenServer, Failure> {
        TokenServer::start(self.servers.handle(), delay, lifetime).await
    }
}

/// The lifetime of a usual token.
pub const HOUR: Duration = Duration::from_secs(3600);
