//! Redis servers for one test: in containers or as processes, as `cargo xtask redis` finds possible.

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

use std::pin::Pin;
use std::{fmt, io};

use async_trait::async_trait;

use ask::Access;
use finder::FinderOutcome;
use setup::Setup;
use tls::Tls;

pub use cluster::{RedisCluster, SlotMove};
pub use group::RedisNode;
pub use sentinel::RedisSentinel;
pub use tls::{Authority, Identity};

/// A Redis server for one test on 127.0.0.1, without data. It ends when this value is dropped, and also when
/// the process is killed.
///
/// The environment variable `FORGE_REDIS` says how to start servers; `cargo xtask test` sets it. Without it,
/// each process runs `cargo xtask redis` once.
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
    /// If there is no Redis. The message says what to do.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more arguments, such as `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    ///
    /// If there is no Redis. The message says what to do.
    pub async fn start_with(args: &[&str]) -> Self {
        Self::try_start_with(args).await.unwrap_or_else(|error| panic!("no Redis server: {error}"))
    }

    /// Starts a server with more arguments. For programs that handle the lack of a Redis themselves.
    ///
    /// # Errors
    ///
    /// There is no Redis, and the error says what to do; or the server does not start.
    pub async fn try_start_with(args: &[&str]) -> io::Result<Self> {
        Self::start_found(&finder::found().await?.server, args, None).await
    }

    /// Starts a server that speaks only TLS, with the certificate of `identity`. Clients need no
    /// certificate, unless `args` contain `["--tls-auth-clients", "yes"]`.
    ///
    /// # Panics
    ///
    /// If there is no Redis (the message says what to do), or if it does not know TLS.
    pub async fn start_tls(authority: &Authority, identity: &Identity, args: &[&str]) -> Self {
        let start = async {
            let tls = Tls::new(authority, identity)?;
            Self::start_found(&finder::found().await?.server, args, Some(tls)).await
        };
        start.await.unwrap_or_else(|error| panic!("no Redis server with TLS: {error}"))
    }

    /// Starts a server of the other kind: a process if [`start`](Self::start) takes a container. Returns
    /// `None` if this machine has only one kind.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub async fn start_other() -> Option<Self> {
        let found = finder::found().await.unwrap_or_else(|error| panic!("no Redis server: {error}"));
        let other = found.other.as_ref()?;
        let started = Self::start_found(other, &[], None).await;
        Some(started.unwrap_or_else(|error| panic!("no other Redis server: {error}")))
    }

    /// The port on 127.0.0.1. It is the same as long as this value lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for clients: `redis://127.0.0.1:PORT`, or `rediss://` with TLS.
    pub fn url(&self) -> String {
        RedisNode::new(self.port, self.tls).url()
    }

    /// Whether the server is a container and not a process.
    pub fn is_container(&self) -> bool {
        self.server.is_container()
    }

    /// Freezes the server. It still accepts connections, and does not answer.
    ///
    /// # Panics
    ///
    /// If the server cannot be frozen.
    pub async fn pause(&self) {
        self.server.pause().await.unwrap_or_else(|error| panic!("Redis is not paused: {error}"));
    }

    /// Lets the server go on, with all data that has come in meanwhile.
    ///
    /// # Panics
    ///
    /// If the server does not go on.
    pub async fn resume(&self) {
        self.server.resume().await.unwrap_or_else(|error| panic!("Redis is not resumed: {error}"));
    }

    /// Kills the server, paused or not. When this returns, the port refuses connections.
    ///
    /// # Panics
    ///
    /// If the server cannot be killed.
    pub async fn stop(&mut self) {
        let stopped = self.server.stop().await;
        stopped.unwrap_or_else(|error| panic!("Redis is not stopped: {error}"));
        port::until_refused(self.port).await.unwrap_or_else(|error| panic!("Redis is not stopped: {error}"));
    }

    /// Starts the server again after [`stop`](Self::stop): empty, on the same port, with the same arguments.
    ///
    /// # Panics
    ///
    /// If the server does not start.
    pub async fn start_again(&mut self) {
        let started = self.server.start_again().await;
        started.unwrap_or_else(|error| panic!("Redis is not started again: {error}"));
    }

    async fn start_found(found: &FinderOutcome, args: &[&str], tls: Option<Tls>) -> io::Result<Self> {
        let access = &Access::by(args, tls);
        let tls = access.tls.is_some();
        port::on_free(1, move |ports| {
            Box::pin(async move {
                let port = ports[0];
                let server = found.start(None, Setup::new(port, access, args)).await?;
                Ok(Self { server, port, tls })
            })
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

/// An operation that may need another attempt. In a box, because otherwise the compiler does not see that it
/// is `Send`.
type Attempt<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The operations that containers and processes implement in different ways. A drop removes the server.
#[async_trait]
trait Server: Send + Sync {
    fn is_container(&self) -> bool;
    async fn pause(&self) -> io::Result<()>;
    async fn resume(&self) -> io::Result<()>;
    async fn stop(&mut self) -> io::Result<()>;
    /// Returns when the server answers.
    async fn start_again(&mut self) -> io::Result<()>;
}

impl FinderOutcome {
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
