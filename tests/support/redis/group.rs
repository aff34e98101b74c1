//! Servers that see each other under the addresses that clients use: 127.0.0.1 and a port each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fmt, io};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::redis::ask::Access;
use crate::redis::container::Network;
use crate::redis::finder::FinderOutcome;
use crate::redis::setup::Setup;
use crate::redis::{Attempt, Server};

/// The time between two looks at servers that have to agree on something.
const LOOK: Duration = Duration::from_millis(50);

pub(super) struct Group {
    members: Vec<Member>,
    /// The network of containers. It is the last field, because members must be dropped first.
    network: Option<Network>,
}

/// One server of a group. The value is only its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RedisNode {
    port: u16,
    tls: bool,
}

pub(super) struct Member {
    pub(super) node: RedisNode,
    pub(super) access: Access,
    server: Box<dyn Server>,
    /// Whether the server is neither paused nor killed.
    living: AtomicBool,
}

impl Group {
    /// A group without members. It already has all its ports.
    pub(super) async fn new(found: &FinderOutcome, ports: &[u16]) -> io::Result<Self> {
        let network = match found {
            FinderOutcome::Container(image) => Some(Network::start(image, ports).await?),
            FinderOutcome::Native(_) => None,
        };
        Ok(Self { members: Vec::new(), network })
    }

    /// Starts servers, all at once. When this returns, they answer.
    pub(super) async fn add(&mut self, found: &'static FinderOutcome, setups: Vec<Setup>) -> io::Result<()> {
        let network = self.network.as_ref().map(Network::id).transpose()?.map(ToOwned::to_owned);
        let mut starting = JoinSet::new();
        for (index, setup) in setups.into_iter().enumerate() {
            let network = network.clone();
            starting.spawn(async move {
                let node = RedisNode::new(setup.port, setup.access.tls.is_some());
                let access = setup.access.clone();
                let server = found.start(network.as_deref(), setup).await?;
                Ok::<_, io::Error>((index, Member { node, access, server, living: true.into() }))
            });
        }
        let mut started = Vec::new();
        while let Some(member) = starting.join_next().await {
            started.push(member.map_err(io::Error::other)?);
        }
        // Only after all have started or failed: an engine still creates a container that it has been asked
        // for.
        let mut started = started.into_iter().collect::<io::Result<Vec<_>>>()?;
        started.sort_by_key(|(index, _)| *index);
        self.members.extend(started.into_iter().map(|(_, member)| member));
        Ok(())
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn nodes(&self) -> Vec<RedisNode> {
        self.members.iter().map(|member| member.node).collect()
    }

    pub(super) fn living(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.living.load(Ordering::Relaxed))
    }

    pub(super) fn member(&self, node: RedisNode) -> io::Result<&Member> {
        self.members.iter().find(|member| member.node == node).ok_or_else(|| stranger(node))
    }

    /// # Panics
    ///
    /// If it does not work. The same holds for the next three methods.
    pub(super) async fn pause(&self, node: RedisNode) {
        let pause = async {
            let member = self.member(node)?;
            member.living.store(false, Ordering::Relaxed);
            member.server.pause().await
        };
        pause.await.unwrap_or_else(|error| panic!("{node:?} is not paused: {error}"));
    }

    pub(super) async fn resume(&self, node: RedisNode) {
        let resume = async {
            let member = self.member(node)?;
            member.server.resume().await?;
            member.living.store(true, Ordering::Relaxed);
            io::Result::Ok(())
        };
        resume.await.unwrap_or_else(|error| panic!("{node:?} is not resumed: {error}"));
    }

    pub(super) async fn kill(&mut self, node: RedisNode) {
        let kill = async {
            let member = self.member_mut(node)?;
            member.living = false.into();
            member.server.stop().await
        };
        kill.await.unwrap_or_else(|error| panic!("{node:?} is not killed: {error}"));
    }

    pub(super) async fn start_again(&mut self, node: RedisNode) {
        let start = async {
            let member = self.member_mut(node)?;
            member.server.start_again().await?;
            member.living = true.into();
            io::Result::Ok(())
        };
        start.await.unwrap_or_else(|error| panic!("{node:?} is not started again: {error}"));
    }

    fn member_mut(&mut self, node: RedisNode) -> io::Result<&mut Member> {
        self.members.iter_mut().find(|member| member.node == node).ok_or_else(|| stranger(node))
    }
}

impl RedisNode {
    pub(super) fn new(port: u16, tls: bool) -> Self {
        Self { port, tls }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for clients: `redis://127.0.0.1:PORT`, or `rediss://` with TLS.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

impl fmt::Debug for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisNode({})", self.port)
    }
}

impl Member {
    pub(super) async fn ask(&self, words: &[&str]) -> io::Result<Vec<String>> {
        self.access.ask(self.node.port, words).await.map_err(|error| {
            let words = words[..words.len().min(3)].join(" ");
            io::Error::new(error.kind(), format!("{:?} asked for {words}: {error}", self.node))
        })
    }

    /// For answers of one text.
    pub(super) async fn text(&self, words: &[&str]) -> io::Result<String> {
        Ok(self.ask(words).await?.concat())
    }
}

/// Waits until `look` finds its object.
///
/// # Errors
///
/// The last error of `look`, if it finds nothing in time.
pub(super) async fn until<'a, T>(limit: Duration, look: impl Fn() -> Attempt<'a, T>) -> io::Result<T> {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if start.elapsed() >= limit => {
                return Err(io::Error::new(error.kind(), format!("after {limit:?} still: {error}")));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Returns an error that names the missing object, unless it is there.
pub(super) fn require(there: bool, missed: impl FnOnce() -> String) -> io::Result<()> {
    if there { Ok(()) } else { Err(io::Error::other(missed())) }
}

fn stranger(node: RedisNode) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{node:?} is none of these"))
}
