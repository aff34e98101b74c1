//! The token caches: our manager and those of other libraries, one file each.

mod aws;
mod azure;
mod gcp_auth;
mod google;
mod moka;
mod object_store;
mod ours;
mod redis_cache;
mod service_account;
mod yup;

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use forge_bench_kit::CpuTime;
use tokio::runtime::Handle;

use crate::Failure;
use crate::token_server::TokenServer;

pub use google::headers as google_headers;
pub use ours::{Ours, manager};
pub use redis_cache::RedisCache;

/// A cache that keeps a token, and gets another one when necessary.
pub trait Peer: Send + Sync + 'static {
    /// The token in the form in which the cache hands it out.
    type Token: Send;
    type Error: Into<Failure>;

    /// Makes the peer's own call, with nothing around it.
    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send;
}

/// Any peer. The compiler generates the loop of `time` for each of them, so that the loop boxes nothing that
/// the peer does not box itself.
pub trait AnyPeer: Send + Sync {
    fn token(&self) -> Boxed<'_, Result<(), Failure>>;

    /// The processor time that this thread takes for this many calls.
    fn time(&self, runtime: &Handle, times: usize) -> Duration;
}

pub type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<P: Peer> AnyPeer for P {
    fn token(&self) -> Boxed<'_, Result<(), Failure>> {
        Box::pin(async { Peer::token(self).await.map(drop).map_err(Into::into) })
    }

    fn time(&self, runtime: &Handle, times: usize) -> Duration {
        // With tokio's budget the loop would now and then yield to the scheduler.
        runtime.block_on(tokio::task::unconstrained(async {
            let start = CpuTime::now();
            for _ in 0..times {
                // Without this check the loop would time a failure as a hit.
                assert!(black_box(Peer::token(self).await).is_ok(), "a token at hand is handed out");
            }
            start.elapsed()
        }))
    }
}

/// A peer's name and setup.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    /// The time before a token's expiry at which the peer replaces it, by its documentation or source.
    pub margin: Duration,
    connect: Connect,
}

type Connect = fn(&TokenServer) -> Boxed<'_, Result<Arc<dyn AnyPeer>, Failure>>;

impl Entry {
    /// A peer that has no token yet. Call this within a runtime.
    pub async fn connect(&self, server: &TokenServer) -> Result<Arc<dyn AnyPeer>, Failure> {
        (self.connect)(server).await.map_err(|error| format!("{} does not start: {error}", self.name).into())
    }

    /// A peer that has a cached token.
    pub async fn with_token(&self, server: &TokenServer) -> Result<Arc<dyn AnyPeer>, Failure> {
        let peer = self.connect(server).await?;
        let token = tokio::time::timeout(PATIENCE, peer.token()).await;
        token
            .map_err(|_| format!("{} has no token after {} s", self.name, PATIENCE.as_secs()))?
            .map_err(|error| format!("{} has no token: {error}", self.name))?;
        Ok(peer)
    }
}

/// A limit, because some peers retry for minutes.
const PATIENCE: Duration = Duration::from_secs(5);

macro_rules! entry {
    ($name:literal, $margin:literal, $peer:ty) => {
        Entry {
            name: $name,
            margin: Duration::from_secs($margin),
            connect: |server| {
                Box::pin(async { Ok(Arc::new(<$peer>::connect(server).await?) as Arc<dyn AnyPeer>) })
            },
        }
    };
}

pub const OURS: Entry = entry!("requestforge", 300, Ours);

/// The other libraries, all with the same server.
pub const PEERS: [Entry; 7] = [
    entry!("object_store", 300, object_store::ObjectStore),
    entry!("google-cloud-auth", 240, google::Google),
    entry!("yup-oauth2", 60, yup::Yup),
    entry!("gcp_auth", 20, gcp_auth::GcpAuth),
    entry!("azure_identity", 300, azure::Azure),
    entry!("aws-smithy", 10, aws::Aws),
    entry!("moka", 0, moka::Moka),
];

/// Gets a token for the peers that only cache. It sends the usual form.
async fn fetch(client: &reqwest::Client, url: &str) -> Result<(Arc<str>, Duration), Failure> {
    let form = [("grant_type", "client_credentials"), ("client_id", "c"), ("client_secret", "s")];
    let answer = client.post(url).form(&form).send().await?.error_for_status()?;
    let answer: serde_json::Value = answer.json().await?;
    let token = answer["access_token"].as_str().ok_or("no token")?;
    let lifetime = answer["expires_in"].as_u64().ok_or("no lifetime")?;
    Ok((token.into(), Duration::from_secs(lifetime)))
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::world::{HOUR, World};

    #[test]
    fn who_has_no_token_is_named() {
        let world = World::new().unwrap();
        world.callers.block_on(async {
            let server = Arc::new(world.token_server(Duration::ZERO, HOUR).await.unwrap());
            server.fail();
            let mut tasks = JoinSet::new();
            for entry in [OURS].into_iter().chain(PEERS) {
                let server = Arc::clone(&server);
                tasks.spawn(async move { (entry.name, entry.with_token(&server).await.err()) });
            }
            for (name, error) in tasks.join_all().await {
                let error = error.map(|error| error.to_string()).unwrap_or_default();
                assert!(error.starts_with(&format!("{name} has no token")), "{name}: {error}");
            }
        });
    }
}
