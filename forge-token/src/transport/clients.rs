//! Chooses the HTTP client for a call, and so its connections.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use forge_core::ConfigError;
use reqwest::Client;
use tokio::runtime::{Handle, Id};

use super::TokenConnection;

/// The HTTP clients for one set of settings. Each is built at its first use.
///
/// A connection belongs to the runtime that opened it: a task there drives it. Hang: a current-thread runtime stops
/// running its tasks after its `block_on`, but its connections still look idle. A call from another runtime over such a
/// connection would wait until its time-out. So each runtime has a pool of its own.
#[derive(Default)]
pub(super) struct Clients {
    pooled: Mutex<Vec<PooledClient>>,
    /// A client that pools nothing: each call opens a connection, so all runtimes can share the client.
    unpooled: OnceLock<Client>,
}

/// A client that keeps its connections open.
struct PooledClient {
    /// The runtime that drives the connections. `None`: `prepare` has built the client, and no call has used it yet.
    runtime: Option<Id>,
    client: Client,
    used_at: Instant,
}

/// The maximum number of pooled clients. Each costs memory for its TLS settings and connections. A program has one or two
/// runtimes, so more than four point to runtimes that are created again and again. Calls from further runtimes open new
/// connections, until one of the pooled clients has been unused for `MAX_UNUSED`.
const MAX_POOLED: usize = 4;
/// How long `reqwest` keeps an idle connection by default. A client that was unused for longer has no connection left.
const MAX_UNUSED: Duration = Duration::from_secs(90);

impl Clients {
    /// Builds a client for the first runtime that calls, if there is none yet.
    pub(super) fn prepare(
        &self,
        build: impl FnOnce() -> Result<Client, ConfigError>,
    ) -> Result<(), ConfigError> {
        if self.pooled().is_empty() {
            let client = build()?;
            self.pooled().push(PooledClient { runtime: None, client, used_at: Instant::now() });
        }
        Ok(())
    }

    /// The client for a call of the current runtime.
    pub(super) fn client(
        &self,
        connection: TokenConnection,
        build: impl FnOnce(TokenConnection) -> Result<Client, ConfigError>,
    ) -> Result<Client, ConfigError> {
        let runtime = Handle::try_current().ok().map(|handle| handle.id());
        if let (TokenConnection::Any, Some(runtime)) = (connection, runtime) {
            let now = Instant::now();
            if let Some(client) = self.pooled_for(runtime, now) {
                return Ok(client);
            }
            if self.has_room(now) {
                return Ok(self.pool(runtime, build(TokenConnection::Any)?, now));
            }
        }
        if let Some(client) = self.unpooled.get() {
            return Ok(client.clone());
        }
        let client = build(TokenConnection::New)?;
        Ok(self.unpooled.get_or_init(|| client).clone())
    }

    /// The runtime's own client, or the client that `prepare` has built for the first runtime that calls.
    fn pooled_for(&self, runtime: Id, now: Instant) -> Option<Client> {
        let mut pooled = self.pooled();
        let own = pooled.iter().position(|client| client.runtime == Some(runtime));
        let found = own.or_else(|| pooled.iter().position(|client| client.runtime.is_none()))?;
        let found = &mut pooled[found];
        (found.runtime, found.used_at) = (Some(runtime), now);
        Some(found.client.clone())
    }

    fn has_room(&self, now: Instant) -> bool {
        let pooled = self.pooled();
        pooled.len() < MAX_POOLED || pooled.iter().any(|client| client.is_unused(now))
    }

    fn pool(&self, runtime: Id, client: Client, now: Instant) -> Client {
        let mut pooled = self.pooled();
        // Race: this call has built the client without the lock. Meanwhile another call of this runtime may have added its
        // client, or calls of other runtimes may have taken the last place.
        if let Some(first) = pooled.iter().find(|pooled| pooled.runtime == Some(runtime)) {
            return first.client.clone();
        }
        if pooled.len() >= MAX_POOLED
            && let Some(unused) = pooled.iter().position(|client| client.is_unused(now))
        {
            pooled.swap_remove(unused);
        }
        if pooled.len() < MAX_POOLED {
            pooled.push(PooledClient { runtime: Some(runtime), client: client.clone(), used_at: now });
        }
        client
    }

    fn pooled(&self) -> MutexGuard<'_, Vec<PooledClient>> {
        self.pooled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PooledClient {
    fn is_unused(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used_at) > MAX_UNUSED
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtimes(count: usize) -> Vec<Runtime> {
        (0..count).map(|_| Builder::new_current_thread().build().unwrap()).collect()
    }

    #[test]
    fn so_many_runtimes_have_connections_of_their_own_and_no_more() {
        let count = AtomicUsize::new(0);
        let build = |_| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Client::new())
        };
        let clients = Clients::default();
        clients.prepare(|| build(TokenConnection::Any)).unwrap();
        let runtimes = runtimes(MAX_POOLED + 3);
        for _ in 0..3 {
            for runtime in &runtimes {
                let _inside = runtime.enter();
                clients.client(TokenConnection::Any, build).unwrap();
                clients.client(TokenConnection::New, build).unwrap();
            }
        }
        assert_eq!(clients.pooled().len(), MAX_POOLED);
        assert_eq!(count.load(Ordering::SeqCst), MAX_POOLED + 1);
    }

    #[test]
    fn a_runtime_takes_the_place_of_one_that_has_not_called_for_a_while() {
        let clients = Clients::default();
        let runtimes = runtimes(MAX_POOLED + 1);
        for runtime in &runtimes {
            let _inside = runtime.enter();
            clients.client(TokenConnection::Any, |_| Ok(Client::new())).unwrap();
        }
        let late = runtimes[MAX_POOLED].handle().id();
        let owners = || clients.pooled().iter().map(|client| client.runtime).collect::<Vec<_>>();
        assert!(!owners().contains(&Some(late)));
        let later = Instant::now() + MAX_UNUSED + Duration::from_secs(1);
        clients.pooled_for(runtimes[0].handle().id(), later);
        assert!(clients.has_room(later));
        clients.pool(late, Client::new(), later);
        assert!(owners().contains(&Some(late)) && owners().contains(&Some(runtimes[0].handle().id())));
        assert_eq!(owners().len(), MAX_POOLED);
    }
}
