use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use forge_tests::{Origin, RawReply, RecordedRequest};

use crate::chain::{Chain, Step};

/// Three servers, and many names for them.
pub(crate) struct World {
    servers: Vec<Arc<Origin>>,
    pub(crate) origins: Origins,
    batch: Arc<Mutex<Batch>>,
}

/// Hosts and ports, in the form of a URL.
pub(crate) struct Origins {
    /// The host of the base URL.
    pub(crate) home: String,
    /// The other host that may see the client's credentials.
    pub(crate) also_home: String,
    pub(crate) foreign: Vec<String>,
    /// Names, and the hosts that they lead to.
    pub(crate) names: Vec<(&'static str, SocketAddr)>,
}

impl Origins {
    pub(crate) fn is_trusted(&self, origin: &str) -> bool {
        origin == self.home || origin == self.also_home
    }
}

/// The chains of the current batch, and the requests of each, in their order.
#[derive(Default)]
struct Batch {
    chains: Arc<[Chain]>,
    requests: Vec<Vec<RecordedRequest>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let batch = Arc::new(Mutex::new(Batch::default()));
        let mut servers = Vec::new();
        for last in [1, 2, 1] {
            let batch = Arc::clone(&batch);
            let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
            let server = Origin::start_at(ip, move |request| reply(&batch, request)).await;
            servers.push(Arc::new(server.expect("a server")));
        }
        let origins = Origins::of(&[servers[0].address(), servers[1].address(), servers[2].address()]);
        Self { servers, origins, batch }
    }

    pub(crate) fn begin(&self, chains: Vec<Chain>) -> Arc<[Chain]> {
        let chains: Arc<[Chain]> = chains.into();
        let requests = chains.iter().map(|_| Vec::new()).collect();
        *lock(&self.batch) = Batch { chains: Arc::clone(&chains), requests };
        chains
    }

    /// The requests, by chain.
    pub(crate) fn end(&self) -> Vec<Vec<RecordedRequest>> {
        let requests = std::mem::take(&mut *lock(&self.batch)).requests;
        // No request broke off, and each belongs to a chain.
        let recorded: usize = self.servers.iter().map(|server| server.requests().len()).sum();
        assert_eq!(recorded, requests.iter().map(Vec::len).sum::<usize>());
        self.servers.iter().for_each(|server| server.clear());
        requests
    }
}

impl Origins {
    fn of(servers: &[SocketAddr; 3]) -> Self {
        let [one, two, three] = servers;
        let names = vec![
            ("home.test", *one),
            ("also-home.test", *three),
            ("also-home.test.", *three),
            ("sub.also-home.test", *three),
            ("evil.test", *two),
        ];
        let foreign = vec![
            // The home's host with another port, and the home's port at another host.
            three.to_string(),
            two.to_string(),
            format!("localhost:{}", one.port()),
            format!("home.test:{}", one.port()),
            format!("also-home.test.:{}", three.port()),
            format!("sub.also-home.test:{}", three.port()),
            format!("evil.test:{}", two.port()),
        ];
        Self { home: one.to_string(), also_home: format!("also-home.test:{}", three.port()), foreign, names }
    }
}

/// The reply that the chain has for this request.
fn reply(batch: &Mutex<Batch>, request: &RecordedRequest) -> RawReply {
    let mut parts = request.target().split(['/', '?']).skip(2).map(str::parse::<u64>);
    let (Some(Ok(seed)), Some(Ok(step))) = (parts.next(), parts.next()) else {
        panic!("a path that no chain has: {}", request.target())
    };
    let mut batch = lock(batch);
    let chains = Arc::clone(&batch.chains);
    let number = usize::try_from(seed.wrapping_sub(chains[0].seed)).expect("a number");
    let step = usize::try_from(step).expect("a number");
    let requests = &mut batch.requests[number];
    // Only for the first request of this step: the next one may have another token.
    let is_first = requests.last().is_none_or(|last| last.target() != request.target());
    requests.push(request.clone());
    match chains[number].steps.get(step) {
        Some(Step { at_first: Some(status), .. }) if is_first => RawReply::status(*status),
        Some(Step { status, location, .. }) => RawReply::redirect(*status, location.clone()),
        None => RawReply::ok(""),
    }
}

fn lock(batch: &Mutex<Batch>) -> std::sync::MutexGuard<'_, Batch> {
    batch.lock().unwrap_or_else(PoisonError::into_inner)
}
