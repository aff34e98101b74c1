//! 64 tasks ask for tokens with a very short life, whatever happens to Redis.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, undisturbed};
use requestforge::{AuthenticationError, TokenManager, TokenStorage};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::world::{Outage, World, alone, rounds, stored, until};

const TASKS: usize = 64;
/// The life of each token. A manager uses half of it.
const LIFETIME: Duration = Duration::from_secs(2);
/// The promised limit for the first call.
const ADDED_ONCE: Duration = Duration::from_millis(100);
/// The promised limit for each later call.
const ADDED_THEN: Duration = Duration::from_millis(1);
const PROBES: usize = 60;

/// The documented default, which this test measures.
const DEFAULT: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_refused() {
    serves_throughout(Outage::Refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_killed_and_restarted() {
    serves_throughout(Outage::Restarted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_paused() {
    serves_throughout(Outage::Paused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_black_holed() {
    serves_throughout(Outage::BlackHoled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_held_in_the_middle_of_a_session() {
    serves_throughout(Outage::Held).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_slow() {
    for each_way in [90, 150, 1_000] {
        serves_throughout(Outage::Slow(each_way)).await;
    }
}

async fn serves_throughout(outage: Outage) {
    let _alone = alone().await;
    undisturbed(|| async {
        let mut world = World::start().await;
        world.issuer.set_lifetime(Some(LIFETIME));
        for round in 0..rounds(10) {
            serve(outage, &mut world, round).await;
        }
    })
    .await;
}

async fn serve(outage: Outage, world: &mut World, round: usize) {
    let near = world.near();
    let storage = world.facing(outage).command_timeout(DEFAULT).build().expect("a storage");
    // Without an advisory window some caller waits at each expiry.
    let manager = world.manager_builder(storage).advisory_window(Duration::ZERO).build().expect("a manager");
    let control = TokenManager::builder(world.provider())
        .advisory_window(Duration::ZERO)
        .build()
        .expect("a manager without a storage");
    let load = Load::start(&world.issuer, &manager, &control);
    sleep(Duration::from_millis(800)).await;
    let healthy = load.take();

    outage.begin(world).await;
    // Longer than a token is used, so that the first caller that needs a token meets the outage.
    sleep(Duration::from_millis(1_300)).await;
    let first = load.take();
    // Each probe makes all the calls of a miss.
    let mut added = Vec::with_capacity(PROBES);
    let mut probed = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let (with, without) = (probe(&manager).await, probe(&control).await);
        probed.push(with);
        added.push(with.saturating_sub(without));
    }
    sleep(Duration::from_millis(200)).await;
    let open = load.take();
    outage.end(world).await;
    let shared_again = until(Duration::from_secs(2), || async {
        let at_hand = manager.cached().map(|token| token.id());
        at_hand.is_some() && stored(&near).await.map(|token| token.id()) == at_hand
    })
    .await;
    let after = load.end().await;

    let (added, probed) = (Times::of(added), Times::of(probed));
    println!("{outage:?}, round {round}: shared again after {shared_again:?}");
    println!("  added to a fetch while it lasts: {added}; the fetch: {probed}");
    for (name, sample) in [("before", &healthy), ("first", &first), ("open", &open), ("after", &after)] {
        println!("  {name}: {sample}");
    }
    for sample in [&healthy, &first, &open, &after] {
        assert!(sample.failures.is_empty(), "{outage:?}: {:?}", sample.failures);
        assert_eq!(sample.invalid, 0, "{outage:?}: a token was served that had expired");
    }
    let slack = first.worst_slack + first.control_misses.worst() + Duration::from_millis(30);
    assert!(
        first.misses.worst() <= ADDED_ONCE + slack,
        "{outage:?}: a caller waited for {:?}; allowed are {ADDED_ONCE:?} and {slack:?}",
        first.misses.worst()
    );
    assert!(first.misses.count() > 0, "{outage:?}: nobody met with it");
    // After a restart there is a Redis to share with.
    let allowed = if outage == Outage::Restarted { ADDED_ONCE } else { ADDED_THEN };
    assert!(added.p50() < allowed, "{outage:?}: each fetch takes {:?} longer", added.p50());
    assert!(open.hits.count() > 0 && open.hits.p50() < ADDED_THEN);
    assert!(shared_again.is_some(), "{outage:?}: 2 s after it, tokens are not shared");
}

async fn probe(manager: &TokenManager) -> Duration {
    let begun = Instant::now();
    manager.force_refresh().await.expect("a token");
    begun.elapsed()
}

/// Tasks that ask for tokens all the time.
struct Load {
    shared: Arc<SharedState>,
    tasks: JoinSet<()>,
}

struct SharedState {
    sample: Mutex<Sample>,
    is_over: AtomicBool,
}

#[derive(Default)]
struct Sample {
    hits: Times,
    misses: Times,
    control_hits: Times,
    control_misses: Times,
    failures: Vec<String>,
    invalid: usize,
    /// The worst delay of the machine.
    worst_slack: Duration,
}

impl Load {
    fn start(issuer: &Arc<AuthorizationServer>, manager: &TokenManager, control: &TokenManager) -> Self {
        let shared = Arc::new(SharedState { sample: Mutex::default(), is_over: AtomicBool::new(false) });
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (shared, manager, issuer) = (Arc::clone(&shared), manager.clone(), Arc::clone(issuer));
            tasks.spawn(async move {
                while !shared.is_over() {
                    let is_hit = manager.cached().is_some();
                    let begun = Instant::now();
                    let token = manager.get_token().await;
                    let took = begun.elapsed();
                    let is_valid = token.map(|token| issuer.is_valid(token.token().access_token()));
                    shared.sample().add(is_hit, took, is_valid);
                    sleep(Duration::from_millis(10)).await;
                }
            });
        }
        let (watched, control) = (Arc::clone(&shared), control.clone());
        tasks.spawn(async move {
            while !watched.is_over() {
                let is_hit = control.cached().is_some();
                let begun = Instant::now();
                control.get_token().await.expect("a token without a storage");
                let took = begun.elapsed();
                let pause = Duration::from_millis(5);
                let begun = Instant::now();
                sleep(pause).await;
                let late = begun.elapsed().saturating_sub(pause);
                watched.sample().add_control(is_hit, took, late);
            }
        });
        Self { shared, tasks }
    }

    /// The measurements since the last call of this function.
    fn take(&self) -> Sample {
        std::mem::take(&mut *self.shared.sample())
    }

    async fn end(mut self) -> Sample {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no panic");
        }
        self.take()
    }
}

impl SharedState {
    fn sample(&self) -> std::sync::MutexGuard<'_, Sample> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

impl Sample {
    fn add(&mut self, is_hit: bool, took: Duration, is_valid: Result<bool, AuthenticationError>) {
        let times = if is_hit { &mut self.hits } else { &mut self.misses };
        times.0.push(took);
        match is_valid {
            Ok(true) => {}
            Ok(false) => self.invalid += 1,
            Err(error) => self.failures.push(format!("{error:?}")),
        }
    }

    fn add_control(&mut self, is_hit: bool, took: Duration, late: Duration) {
        let times = if is_hit { &mut self.control_hits } else { &mut self.control_misses };
        times.0.push(took);
        self.worst_slack = self.worst_slack.max(late);
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hits {} (control {}); misses {} (control {}); the machine was late by {:?} at worst",
            self.hits, self.control_hits, self.misses, self.control_misses, self.worst_slack
        )
    }
}

#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn of(times: Vec<Duration>) -> Self {
        Self(times)
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn at(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }

    fn p50(&self) -> Duration {
        self.at(50)
    }

    fn worst(&self) -> Duration {
        self.at(100)
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99, worst) = (self.p50(), self.at(99), self.worst());
        write!(f, "{} × p50 {p50:?} p99 {p99:?} worst {worst:?}", self.count())
    }
}

/// The client must not forget meanwhile what it knows of a connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_a_connection_that_was_up_for_long_costs_no_more() {
    undisturbed(a_connection_that_was_up_for_long_costs_no_more).await;
}

async fn a_connection_that_was_up_for_long_costs_no_more() {
    let mut world = World::start().await;
    let manager =
        world.manager(world.facing(Outage::Paused).command_timeout(DEFAULT).build().expect("a storage"));
    let control = TokenManager::new(world.provider());
    probe(&manager).await;
    sleep(Duration::from_secs(16)).await;
    let _alone = alone().await;
    probe(&manager).await;
    Outage::Paused.begin(&mut world).await;
    let (with, without) = tokio::join!(probe(&manager), probe(&control));
    let then = probe(&manager).await;
    println!("after 16 s, paused: the first fetch takes {with:?}, the next {then:?}; without {without:?}");
    Outage::Paused.end(&mut world).await;
    assert!(with < ADDED_ONCE + without + Duration::from_millis(50), "it takes {with:?}");
    assert!(then < ADDED_ONCE / 2, "the next takes {then:?}");
}

/// A fetch is four commands, and each answer may come just in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_slow_within_the_deadline_costs_no_more_for_many_commands() {
    undisturbed(slow_within_the_deadline_costs_no_more_for_many_commands).await;
}

async fn slow_within_the_deadline_costs_no_more_for_many_commands() {
    for each_way in [5, 20, 40] {
        let mut world = World::start().await;
        let manager = world.manager(world.far().command_timeout(DEFAULT).build().expect("a storage"));
        let control = TokenManager::new(world.provider());
        probe(&manager).await;
        Outage::Slow(each_way).begin(&mut world).await;
        // The best of three measurements, for a busy machine.
        let mut added = Duration::MAX;
        for _ in 0..3 {
            let (with, without) = tokio::join!(probe(&manager), probe(&control));
            println!("{each_way} ms each way: a fetch takes {with:?}; without {without:?}");
            added = added.min(with.saturating_sub(without));
            sleep(Duration::from_millis(300)).await;
        }
        assert!(added < ADDED_ONCE + Duration::from_millis(40), "{each_way} ms each way: {added:?}");
    }
}

/// A connection that is cut in the middle of commands comes back once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_each_cut_is_one_new_connection() {
    undisturbed(each_cut_is_one_new_connection).await;
}

async fn each_cut_is_one_new_connection() {
    let world = World::start().await;
    let storage = world.far().command_timeout(DEFAULT).build().expect("a storage");
    let is_up = || async { storage.get("crm").await.is_ok() };
    assert!(until(Duration::from_secs(5), is_up).await.is_some());
    let before = world.proxy.accepted();
    let cuts = rounds(100);
    for _ in 0..cuts {
        let commands: JoinSet<_> = (0..16)
            .map(|_| {
                let storage = storage.clone();
                async move { storage.get("crm").await.is_ok() }
            })
            .collect();
        tokio::task::yield_now().await;
        world.proxy.cut();
        commands.join_all().await;
        assert!(until(Duration::from_secs(5), is_up).await.is_some());
        // Time for a connection that the client closes at once.
        sleep(Duration::from_millis(100)).await;
    }
    let made = world.proxy.accepted() - before;
    println!("{cuts} cuts: {made} new connections");
    assert_eq!(made, cuts);
}
