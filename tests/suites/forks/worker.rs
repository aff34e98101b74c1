//! The process that forks. It and its children are the workers.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{ExitCode, exit};
use std::time::Duration;

use forge_tests::fleet::now;
use fork::{Fork, fork, waitpid};
use requestforge::redis::cmd;
use requestforge::storage::{CoolDownPolicy, LeaseOutcome};
use requestforge::{CorrelationId, HttpClient, RedisTokenStorage, TokenManager, TokenStorage};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

use crate::connection::connection;
use crate::world::{CHILDREN, KEY, Order, PREFIX};

/// How long a worker may take to hear of a change, or to be connected again.
const SOON: Duration = Duration::from_secs(10);
const BLINK: Duration = Duration::from_millis(5);

/// The objects that the process makes before it forks.
struct InheritedState {
    storage: RedisTokenStorage,
    client: HttpClient,
    /// The runtime in which the process used the storage before the fork, if it did. A child does not drive
    /// it.
    runtime: Option<Runtime>,
}

/// Forks, does the work in each process, and waits for the children.
pub(crate) fn fork_and_work(order: &Order) -> ExitCode {
    let inherited = prepare(order);
    let mut children = Vec::new();
    for number in 1..=CHILDREN {
        match fork().expect("a child") {
            Fork::Parent(child) => children.push(child),
            Fork::Child => {
                let work = || runtime().block_on(work(order, &inherited, number));
                let worked = catch_unwind(AssertUnwindSafe(work));
                // Exit without running destructors: the parent still uses the same sockets.
                exit(i32::from(worked.is_err()));
            }
        }
    }
    let work = work(order, &inherited, 0);
    match &inherited.runtime {
        Some(runtime) => runtime.block_on(work),
        None => runtime().block_on(work),
    }
    let statuses: Vec<_> = children.into_iter().map(|child| waitpid(child).expect("an end")).collect();
    if statuses.iter().all(|status| *status == 0) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prepares the process as a server does that loads the program once and then forks its workers. The thread
/// has already drawn random numbers, so a fork copies the state of any generator that lives in the process.
fn prepare(order: &Order) -> InheritedState {
    let warm: HashMap<u8, u8> = HashMap::from([(1, 1)]);
    assert_eq!(warm.len(), 1);
    let storage = order.storage();
    let client = HttpClient::builder(order.text("api")).with_request_hook(CorrelationId::new());
    let client = client.build().expect("a client");
    let runtime = (order.text("work") == "go on").then(|| {
        let runtime = runtime();
        runtime.block_on(storage.exists(KEY)).expect("Redis is there");
        runtime
    });
    InheritedState { storage, client, runtime }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

async fn work(order: &Order, inherited: &InheritedState, number: usize) {
    let told = match order.text("work") {
        "tell who you are" => tell_who_you_are(order, inherited, number).await,
        "renew" => renew(order, inherited).await,
        "invalidate" => invalidate(order, inherited, number).await,
        "go on" => go_on(inherited, number).await,
        other => panic!("nobody knows how to {other}"),
    };
    // One write, so that lines of several processes do not mix.
    println!("{}", json!({ "worker": number, "told": told }));
}

/// The names of leases, from an inherited storage and from one of the worker's own, and a correlation id.
async fn tell_who_you_are(order: &Order, inherited: &InheritedState, number: usize) -> Value {
    let mut redis = connection(order.text("redis")).await;
    let own = order.storage();
    let mut holders = Vec::new();
    for (which, storage) in [("inherited", &inherited.storage), ("own", &own)] {
        let key = format!("{which} {number}");
        let mut lease = storage.leases().expect("leases").lease(&key);
        let acquired = lease.acquire(CoolDownPolicy::Respect).await.expect("Redis is there");
        assert!(matches!(acquired, LeaseOutcome::Held { .. }));
        let lease_key = format!("{{{PREFIX}:{key}}}:lease");
        let holder: String = cmd("GET").arg(lease_key).query_async(&mut redis).await.expect("a holder");
        holders.push(holder);
    }
    let response = inherited.client.get("/").send().await.expect("a response");
    let correlation_id = CorrelationId::of(response.extensions()).expect("an identifier");
    json!({ "holders": holders, "correlation_id": correlation_id })
}

/// All workers ask at once for a token that needs a renewal.
async fn renew(order: &Order, inherited: &InheritedState) -> Value {
    let manager = manager(order, inherited);
    until(order.at()).await;
    let token = manager.get_token().await.expect("a token");
    json!(forge_tests::fleet::name(token.id()))
}

/// All workers have the token in memory, and one invalidates it.
async fn invalidate(order: &Order, inherited: &InheritedState, number: usize) -> Value {
    let manager = manager(order, inherited);
    manager.get_token().await.expect("a token");
    until(order.at()).await;
    if number == 1 {
        manager.invalidate_token().await.expect("Redis is there");
    }
    let begun = Instant::now();
    while manager.cached().is_some() && begun.elapsed() < SOON {
        sleep(BLINK).await;
    }
    json!(manager.cached().is_none())
}

/// The process used the storage before the fork, in a runtime that does not run here.
async fn go_on(inherited: &InheritedState, number: usize) -> Value {
    let key = format!("of {number}");
    let token = requestforge::TokenData::new("t");
    let begun = Instant::now();
    while inherited.storage.set(&key, &token).await.is_err() && begun.elapsed() < SOON {
        sleep(BLINK).await;
    }
    json!(inherited.storage.get(&key).await.is_ok_and(|stored| stored == Some(token)))
}

fn manager(order: &Order, inherited: &InheritedState) -> TokenManager {
    let builder = TokenManager::builder(order.provider()).storage(inherited.storage.clone()).cache_key(KEY);
    builder.build().expect("a manager")
}

/// Sleeps until a moment that all processes know.
async fn until(at: u64) {
    sleep(Duration::from_nanos(at.saturating_sub(now()))).await;
}
