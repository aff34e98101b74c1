//! The costs of the single parts of a hit. No cache that does the same work can be faster.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use chrono::Utc;
use forge_bench_kit::{Contender, CpuTime};
use forge_core::{Clock, SystemClock};

struct Entry {
    expires_at: i64,
    generation: u64,
    token: Arc<String>,
}

/// The floor with all parts that a hit needs to hand out an owned token.
pub const OWNED: &str = "floor: guard, generation, both coarse clocks, an owned Arc";

/// A hit consists of atomic operations and clock readings, and machines differ in their costs. We set the
/// goals on a machine where that floor takes 14 ns.
pub fn beside(figure: f64, floor: f64) -> String {
    format!("{:.2} × the floor, which takes {floor:.1} ns here and 14 where the goal was set", figure / floor)
}

/// The floors, in ascending order.
pub fn all<'a>() -> Vec<Contender<'a>> {
    let (slot, generation) = (slot(), Arc::new(AtomicU64::new(0)));
    let judged_by = |name: &str, is_fresh: fn(&Entry) -> bool| {
        let (slot, generation) = (Arc::clone(&slot), Arc::clone(&generation));
        floor(name, move || {
            let entry = slot.load();
            entry.generation == generation.load(Ordering::Acquire) && is_fresh(&entry)
        })
    };
    let guard = Arc::clone(&slot);
    let kibibyte = "t".repeat(1024);
    vec![
        floor("floor: arc-swap guard", move || guard.load().expires_at),
        judged_by("floor: guard, generation, both coarse clocks", by_coarse_clocks),
        owned(&slot, &generation),
        judged_by("floor: guard, generation, quanta", by_quanta),
        judged_by("floor: guard, generation, Instant::now", by_instant),
        judged_by("floor: guard, generation, chrono Utc::now", by_chrono),
        floor("floor: copying a token of 1 KiB", move || kibibyte.clone()),
    ]
}

/// Only the floor that the goals refer to.
pub fn owned_alone<'a>() -> Contender<'a> {
    owned(&slot(), &Arc::new(AtomicU64::new(0)))
}

fn slot() -> Arc<ArcSwap<Entry>> {
    let token = Arc::new("t".repeat(40));
    Arc::new(ArcSwap::from_pointee(Entry { expires_at: i64::MAX, generation: 0, token }))
}

fn owned<'a>(slot: &Arc<ArcSwap<Entry>>, generation: &Arc<AtomicU64>) -> Contender<'a> {
    let (slot, generation) = (Arc::clone(slot), Arc::clone(generation));
    floor(OWNED, move || {
        let entry = slot.load();
        let is_good = entry.generation == generation.load(Ordering::Acquire) && by_coarse_clocks(&entry);
        is_good.then(|| Arc::clone(&entry.token))
    })
}

fn floor<'a, T>(name: &str, work: impl Fn() -> T + 'a) -> Contender<'a> {
    Contender::new(name, move |times| timed(times, &work))
}

/// The processor time that this thread takes for this many repetitions.
pub fn timed<T>(times: usize, work: impl Fn() -> T) -> Duration {
    let start = CpuTime::now();
    for _ in 0..times {
        black_box(work());
    }
    start.elapsed()
}

fn by_coarse_clocks(entry: &Entry) -> bool {
    let now = SystemClock.now();
    now.wall_millis() < entry.expires_at && now.monotonic_millis() < entry.expires_at
}

fn by_quanta(entry: &Entry) -> bool {
    use std::sync::LazyLock;

    static START: LazyLock<quanta::Instant> = LazyLock::new(quanta::Instant::now);
    (quanta::Instant::now() - *START).as_millis() < entry.expires_at.unsigned_abs().into()
}

fn by_instant(entry: &Entry) -> bool {
    use std::sync::LazyLock;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    (Instant::now() - *START).as_millis() < entry.expires_at.unsigned_abs().into()
}

fn by_chrono(entry: &Entry) -> bool {
    Utc::now().timestamp_millis() < entry.expires_at
}
