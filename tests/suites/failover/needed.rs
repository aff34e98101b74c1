//! A process has to renew a token just when there is no master.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use requestforge::storage::TokenId;
use requestforge::testing::ManualClock;
use requestforge::{RedisTokenStorage, TokenManager, TokenStorage};
use tokio::time::sleep;

use crate::servers::{Kind, Loss, try_with};
use crate::world::{PROCESSES, World, in_turn, until};

const KEY: &str = "needed";
const LIFE: Duration = Duration::from_secs(120);
/// After this time the token is in its advisory window, whatever the jitter.
const NEARLY_HALF: Duration = Duration::from_secs(58);
const LONG: Duration = Duration::from_secs(20);

/// A process whose manager has a clock of its own. Its storage shares the clock of the world.
struct Process {
    storage: RedisTokenStorage,
    manager: TokenManager,
    clock: Arc<ManualClock>,
}

/// No process can get a lease, so each renews alone, and once. Then all use one of these tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_is_renewed_without_a_master_costs_one_call_per_process_at_most() {
    in_turn(|| try_with(Kind::Sentinel, Loss::Paused, costs_one_call_each)).await;
}

async fn costs_one_call_each(kind: Kind, loss: Loss) {
    let mut world = World::start(kind).await;
    world.issuer.set_lifetime(Some(LIFE));
    let processes: Vec<_> =
        world.processes.iter().map(|process| Process::new(&world, &process.storage)).collect();
    let before = agreed(&processes).await;
    let calls = world.calls();

    let old = world.servers.master(KEY).await;
    world.servers.lose(old, loss).await;
    // Each process notices by itself.
    join_all(processes.iter().map(|process| process.storage.get(KEY))).await;
    for process in &processes {
        process.clock.advance(NEARLY_HALF);
    }
    let are_new = async || {
        let news = join_all(processes.iter().map(Process::id)).await;
        news.into_iter().all(|id| id != before)
    };
    assert!(until(LONG, are_new).await.is_some(), "somebody has not renewed");
    let alone = world.calls() - calls;
    assert!((1..=PROCESSES).contains(&alone), "{alone} token calls of {PROCESSES} processes");

    world.servers.failed_over(KEY).await;
    let after = agreed(&processes).await;
    assert_ne!(after, before, "the older one is back");
    let shared = world.calls() - calls;
    println!("{kind:?}, {loss:?}: {alone} token calls without a master, {} after it", shared - alone);
    assert_eq!(shared, alone, "what is offered is adopted");
}

/// The token that all processes use and that Redis stores.
async fn agreed(processes: &[Process]) -> TokenId {
    for _ in 0..2_000 {
        let mut ids = Vec::new();
        for process in processes {
            ids.push(process.id().await);
        }
        let stored = processes[0].storage.get(KEY).await.ok().flatten().map(|token| token.id());
        if ids.iter().all(|id| Some(*id) == stored) {
            return ids[0];
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("they don't agree");
}

impl Process {
    fn new(world: &World, storage: &RedisTokenStorage) -> Self {
        let clock = Arc::new(ManualClock::new());
        let provider = world.provider_with(Arc::clone(&clock) as _);
        let manager = TokenManager::builder(provider).storage(storage.clone()).cache_key(KEY);
        let manager = manager.clock(Arc::clone(&clock) as _).build().expect("a manager");
        Self { storage: storage.clone(), manager, clock }
    }

    async fn id(&self) -> TokenId {
        self.manager.get_token().await.expect("a token").id()
    }
}
