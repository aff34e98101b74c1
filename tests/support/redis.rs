//! Redis servers of one's own: in containers or as processes, as `cargo xtask redis` finds it possible.

mod ask;
mod cluster;
mod container;
mod finder;
mod group;
#[cfg(unix)]
mod native;
mod port;
mod sentinel;
mod setup;
#[cfg(test)]
mod tests;
mod tls;

use std::{fmt, io};

use async_trait::async_trait;

use ask::Access;
use finder::Found;
use setup::Setup;
use tls::Tls;

pub use cluster::{RedisCluster, SlotMove};
pub use group::RedisNode;
pub use sentinel::RedisSentinel;
pub use tls::{Authority, Identity};

/// A Redis server of one's own on 127.0.0.1, with nothing in it. It is gone when this is dropped, and also
/// when the process is killed.
///
/// What servers are made of stands in the environment variable `FORGE_REDIS`, as `cargo xtask test` sets
/// it. Where it is not set, `cargo xtask redis` is run once for the process.
///
/// ```no_run
/// # async fn run() {
/// use forge_tests::RedisServer;
///
/// let mut redis = RedisServer::start().await;
/// // … a client with `redis.url()` …
/// redis.stop().await; // connections are refused
/// redis.start_again().await; // on the same port, with nothing in it
/// # }
/// ```
pub struct RedisServer {
    server: Box<dyn Server>,
    port: u16,
    tls: bool,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more arguments, such as `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::try_start_with(args).await.unwrap_or_else(|error| panic!("no Redis server: {error}"))
    }

    /// Starts a server with more arguments; for programs that have something to say when there is none.
    ///
    /// # Errors
    ///
    /// When there is no Redis, with what to do, or it does not start.
    pub async fn try_start_with(args: &[&str]) -> io::Result<Self> {
        Self::start_found(&finder::found().await?.server, args, None).await
    }

    /// Starts a server that speaks nothing but TLS, as the one that `identity` says. Clients need no
    /// certificate, unless `args` say `["--tls-auth-clients", "yes"]`.
    ///
    /// # Panics
    ///
    /// When there is no Redis, with what to do, or it does not know TLS.
    pub async fn start_tls(authority: &Authority, identity: &Identity, args: &[&str]) -> Self {
        let start = async {
            let tls = Tls::new(authority, identity)?;
            Self::start_found(&finder::found().await?.server, args, Some(tls)).await
        };
        start.await.unwrap_or_else(|error| panic!("no Redis server with TLS: {error}"))
    }

    /// Starts a server of the other kind, a process where [`start`](Self::start) takes a container. `None`
    /// where this machine has only one.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_other() -> Option<Self> {
        let found = finder::found().await.unwrap_or_else(|error| panic!("no Redis server: {error}"));
        let other = found.other.as_ref()?;
        let started = Self::start_found(other, &[], None).await;
        Some(started.unwrap_or_else(|error| panic!("no other Redis server: {error}")))
    }

    /// Where it is on 127.0.0.1; the same as long as this lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for clients, `redis://127.0.0.1:PORT`, or `rediss://` where it speaks TLS.
    pub fn url(&self) -> String {
        RedisNode::new(self.port, self.tls).url()
    }

    /// Whether it is a container and not a process.
    pub fn is_container(&self) -> bool {
        self.server.is_container()
    }

    /// Freezes it: connections are still accepted, and nobody answers.
    ///
    /// # Panics
    ///
    /// When it cannot be frozen.
    pub async fn pause(&self) {
        self.server.pause().await.unwrap_or_else(|error| panic!("Redis is not paused: {error}"));
    }

    /// Lets it go on, with all that has come in meanwhile.
    ///
    /// # Panics
    ///
    /// When it does not go on.
    pub async fn resume(&self) {
        self.server.resume().await.unwrap_or_else(|error| panic!("Redis is not resumed: {error}"));
    }

    /// Kills it, paused or not. When this returns, connections are refused.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub async fn stop(&mut self) {
        let stopped = self.server.stop().await;
        stopped.unwrap_or_else(|error| panic!("Redis is not stopped: {error}"));
        port::until_refused(self.port).await.unwrap_or_else(|error| panic!("Redis is not stopped: {error}"));
    }

    /// Starts it again after [`stop`](Self::stop): empty, on the same port, with the same arguments.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let started = self.server.start_again().await;
        started.unwrap_or_else(|error| panic!("Redis is not started again: {error}"));
    }

    async fn start_found(found: &Found, args: &[&str], tls: Option<Tls>) -> io::Result<Self> {
        let access = Access::by(args, tls);
        let (access, tls) = (&access, access.tls.is_some());
        port::on_free(1, |ports| async move {
            let port = ports[0];
            let server = found.start(None, Setup::new(port, access, args)).await?;
            Ok(Self { server, port, tls })
        })
        .await
    }
}

impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_container() { "container" } else { "process" };
        write!(f, "RedisServer({kind} at port {})", self.port)
    }
}

/// What containers and processes do each in their way. Dropping it removes the server.
#[async_trait]
trait Server: Send + Sync {
    fn is_container(&self) -> bool;
    async fn pause(&self) -> io::Result<()>;
    async fn resume(&self) -> io::Result<()>;
    async fn stop(&mut self) -> io::Result<()>;
    /// Returns when it answers.
    async fn start_again(&mut self) -> io::Result<()>;
}

impl Found {
    /// Returns when the server answers. A container may be in the network of another.
    async fn start(&self, network: Option<&str>, setup: Setup) -> io::Result<Box<dyn Server>> {
        match self {
            Self::Container(image) => Ok(Box::new(container::Container::start(image, network, setup).await?)),
            #[cfg(unix)]
            Self::Native(command) => Ok(Box::new(native::Native::start(command, setup).await?)),
            #[cfg(not(unix))]
            Self::Native(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}
