//! The cost of a call that returns a cached token.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_bench_kit::{Contender, Count, Line, interleave, median, paired_ratio, progress, quartiles};
use forge_storage_memory::InMemoryTokenStorage;
use forge_storage_redis::RedisTokenStorage;
use forge_tests::RedisServer;
use tokio::runtime::Handle;

use crate::count::MEMORY;
use crate::peers::{AnyPeer, OURS, Ours, PEERS, RedisCache};
use crate::world::{HOUR, World};
use crate::{Failure, floors};

const OURS_MEMORY: &str = "requestforge over memory";
const OURS_REDIS: &str = "requestforge over Redis";
const REDIS_CACHE: &str = "redis-rs client-side cache";

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    let handle = world.callers.handle();
    let contestants = world.callers.block_on(Contestants::start(world))?;
    progress(format_args!("in turn: {} caches, and the floors", contestants.peers.len()));
    let mut contenders: Vec<Contender<'_>> =
        contestants.peers.iter().map(|(name, peer)| contender(name, peer, handle)).collect();
    contenders.extend(floors::all());
    interleave(&mut contenders, if quick { 25 } else { 201 });

    let of = |name: &str| contenders.iter().find(|contender| contender.name() == name).map(Contender::nanos);
    let is_peer = |contender: &&Contender<'_>| PEERS.iter().any(|peer| peer.name == contender.name());
    let fastest = contenders
        .iter()
        .filter(is_peer)
        .min_by(|one, other| median(one.nanos()).total_cmp(&median(other.nanos())));
    let (Some(fastest), Some(ours)) = (fastest, of(OURS.name)) else { return Err("nobody was timed".into()) };
    let floor = of(floors::OWNED).ok_or("the floor is missing")?;
    let anchor = format!(
        "the fastest peer, {}: {:.1} ns; {}: {:.1} ns",
        fastest.name(),
        median(fastest.nanos()),
        floors::OWNED,
        median(floor)
    );

    for name in [OURS.name, OURS_MEMORY, OURS_REDIS] {
        let Some(nanos) = of(name) else { continue };
        let figure = median(nanos);
        Line::new(format!("{name}: get_token"), figure, "ns")
            .anchor(&anchor)
            .ratio(paired_ratio(nanos, fastest.nanos()))
            .goal("≤ 20 ns", figure <= 20.0)
            .spread(quartiles(nanos))
            .note(floors::beside(figure, median(floor)))
            .print();
    }
    let times_faster = paired_ratio(fastest.nanos(), ours);
    Line::new("how many times faster than the fastest peer", times_faster, "×")
        .anchor(&anchor)
        .goal("≥ 3 ×", times_faster >= 3.0)
        .print();
    for contender in &contenders {
        if [OURS.name, OURS_MEMORY, OURS_REDIS].contains(&contender.name()) {
            continue;
        }
        Line::new(contender.name(), median(contender.nanos()), "ns")
            .anchor(format!("{}: {:.1} ns", OURS.name, median(ours)))
            .ratio(paired_ratio(contender.nanos(), ours))
            .spread(quartiles(contender.nanos()))
            .print();
    }
    redis_get(&contestants, handle)?.print();
    counts(quick);
    Ok(())
}

/// All peers with a cached token, and their servers.
struct Contestants {
    peers: Vec<(String, Arc<dyn AnyPeer>)>,
    uncached: RedisCache,
    _redis: RedisServer,
    _servers: Vec<crate::token_server::TokenServer>,
}

impl Contestants {
    async fn start(world: &World) -> Result<Self, Failure> {
        progress("a Redis server");
        let redis = RedisServer::try_start_with(&[]).await?;
        let mut servers = Vec::new();
        let mut peers: Vec<(String, Arc<dyn AnyPeer>)> = Vec::new();
        for entry in [OURS].iter().chain(&PEERS) {
            let server = world.token_server(Duration::ZERO, HOUR).await?;
            peers.push((entry.name.to_owned(), entry.connect(&server).await?));
            servers.push(server);
        }
        let server = world.token_server(Duration::ZERO, HOUR).await?;
        let memory = Ours::over(&server, InMemoryTokenStorage::new())?;
        peers.push((OURS_MEMORY.to_owned(), Arc::new(memory)));
        let over_redis = Ours::over(&server, RedisTokenStorage::new(redis.url())?)?;
        peers.push((OURS_REDIS.to_owned(), Arc::new(over_redis)));
        servers.push(server);
        peers.push((REDIS_CACHE.to_owned(), Arc::new(RedisCache::connect(&redis.url(), true).await?)));
        for (name, peer) in &peers {
            peer.token().await.map_err(|error| format!("{name} has no token: {error}"))?;
        }
        let uncached = RedisCache::connect(&redis.url(), false).await?;
        Ok(Self { peers, uncached, _redis: redis, _servers: servers })
    }
}

fn contender<'a>(name: &str, peer: &'a Arc<dyn AnyPeer>, handle: &'a Handle) -> Contender<'a> {
    Contender::new(name, move |times| peer.time(handle, times))
}

/// A round trip to the server on the same machine. The caller waits, so this measures with the wall clock.
fn redis_get(contestants: &Contestants, handle: &Handle) -> Result<Line, Failure> {
    let peer: &dyn AnyPeer = &contestants.uncached;
    let trips = handle.block_on(async {
        let mut trips = Vec::new();
        for _ in 0..2_000 {
            let start = Instant::now();
            peer.token().await?;
            trips.push(start.elapsed().as_secs_f64() * 1e9);
        }
        Ok::<_, Failure>(trips)
    })?;
    Ok(Line::new("a GET of Redis on this machine", median(&trips), "ns").spread(quartiles(&trips)))
}

/// Counts instructions: other programs on the machine do not change their number.
fn counts(quick: bool) {
    let times = (20_000, 220_000);
    let note = "callgrind, difference of two runs";
    Count::new("requestforge: get_token, instructions", OURS.name, times)
        .against("object_store")
        .at_most(180.0)
        .note(note)
        .print();
    Count::new("requestforge over memory: get_token, instructions", MEMORY, times)
        .at_most(180.0)
        .note(note)
        .print();
    Count::new("requestforge: with_token, instructions", "with_token", times).note(note).print();
    let others = if quick { &[][..] } else { &PEERS[1..] };
    for peer in others {
        Count::new(format!("{}, instructions", peer.name), peer.name, times)
            .against(OURS.name)
            .note(note)
            .print();
    }
}
