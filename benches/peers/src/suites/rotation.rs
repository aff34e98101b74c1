//! Tokens are replaced while many callers ask for them all the time.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use forge_bench_kit::{Line, Plot, progress, quantile};
use forge_core::{Clock, ClockReading, SystemClock};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::storm::millis;
use super::working::all_work;
use crate::Failure;
use crate::peers::{AnyPeer, Entry, Ours, PEERS, Peer};
use crate::token_server::TokenServer;
use crate::world::World;

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    all_work(world)?;
    // The subjects without expected waits run apart from the subjects with waits, which would disturb them.
    let length = Duration::from_secs(if quick { 7 } else { 40 });
    let calm = async {
        let mut subjects = Vec::new();
        for lifetime in [3600, 60, 5] {
            subjects.push(Subject::ours(world, Duration::from_secs(lifetime)).await?);
        }
        subjects.push(Subject::control(world).await?);
        subjects.push(Subject::peer(world, PEERS[GOOGLE], PEERS[GOOGLE].margin + SOON).await?);
        if !quick {
            subjects.push(Subject::peer(world, PEERS[GOOGLE], Duration::from_secs(8)).await?);
        }
        progress(format_args!("ours and those who do not wait either, for {} s", length.as_secs()));
        watch_all(subjects, length).await
    };
    let calm = world.callers.block_on(calm)?;
    let length = Duration::from_secs(if quick { 7 } else { 20 });
    let rest = async {
        let mut subjects = Vec::new();
        for (place, peer) in PEERS.into_iter().enumerate() {
            if place != GOOGLE {
                subjects.push(Subject::peer(world, peer, peer.margin + SOON).await?);
            }
        }
        progress(format_args!("the other peers, for {} s", length.as_secs()));
        watch_all(subjects, length).await
    };
    let rest = world.callers.block_on(rest)?;

    let control = calm.iter().find(|seen| seen.name == CONTROL).ok_or("the control is missing")?;
    let all_seen = || calm.iter().chain(&rest);
    all_seen().filter(|seen| seen.name != CONTROL).try_for_each(SubjectRecord::check)?;
    for seen in all_seen() {
        seen.line(control, &rest).print();
    }
    if quick {
        Line::full_run_only("google-cloud-auth, tokens of 8 s", "").print();
    }
    // The page has no more colours for curves.
    plot("Waits while tokens are replaced: ours", &calm);
    plot("Waits while tokens are replaced: the other peers", calm.iter().take(1).chain(&rest));
    Ok(())
}

fn plot<'a>(title: &str, all_seen: impl IntoIterator<Item = &'a SubjectRecord>) {
    let title = format!("{title} (64 tasks, a token call of 200 ms)");
    let waits = format!("ms, the longest in {BUCKET} ms; {MIN_SHOWN}: or less");
    let mut plot = Plot::new(title, "seconds", waits).logarithmic(false, true);
    for seen in all_seen {
        plot = plot.series(&seen.name, seen.longest());
    }
    plot.print();
}

const TOKEN_CALL: Duration = Duration::from_millis(200);
const TASKS: usize = 64;
const EVERY: Duration = Duration::from_millis(5);
/// When a peer's first rotation is due.
const SOON: Duration = Duration::from_secs(2);
const CONTROL: &str = "control: never fetches";
/// In the list of peers.
const GOOGLE: usize = 1;

/// A token cache whose callers the suite watches.
struct Subject {
    name: String,
    is_ours: bool,
    peer: Arc<dyn AnyPeer>,
    server: TokenServer,
    time: Option<(Arc<ShiftedClock>, Duration)>,
}

impl Subject {
    /// Our manager, with tokens of this lifetime. If a rotation would take too long, the suite moves the
    /// clock into the advisory window.
    async fn ours(world: &World, lifetime: Duration) -> Result<Self, Failure> {
        let server = world.token_server(TOKEN_CALL, lifetime).await?;
        let clock = Arc::new(ShiftedClock::default());
        let peer = Arc::new(Ours::with_clock(&server, Arc::<ShiftedClock>::clone(&clock))?);
        let step = match lifetime.as_secs() {
            3600 => Some(3400),
            60 => Some(20),
            _ => None,
        };
        let time = step.map(|seconds| (clock, Duration::from_secs(seconds)));
        let name = format!("requestforge, tokens of {} s", lifetime.as_secs());
        Ok(Self { name, is_ours: true, peer, server, time })
    }

    async fn peer(world: &World, peer: Entry, lifetime: Duration) -> Result<Self, Failure> {
        let server = world.token_server(TOKEN_CALL, lifetime).await?;
        let name = format!("{}, tokens of {} s", peer.name, lifetime.as_secs());
        let peer = peer.connect(&server).await?;
        Ok(Self { name, is_ours: false, peer, server, time: None })
    }

    /// A ready token without a cache: it shows the delays that come from the machine itself.
    async fn control(world: &World) -> Result<Self, Failure> {
        let server = world.token_server(TOKEN_CALL, TOKEN_CALL).await?;
        Ok(Self { name: CONTROL.to_owned(), is_ours: false, peer: Arc::new(Ready), server, time: None })
    }

    async fn watch(self, length: Duration) -> SubjectRecord {
        // The first token does not count as a rotation.
        let has_token = self.peer.token().await.is_ok();
        let first_calls = self.server.calls();
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for number in 0..TASKS {
            let peer = Arc::clone(&self.peer);
            #[allow(clippy::cast_possible_truncation)]
            let offset = EVERY * number as u32 / TASKS as u32;
            tasks.spawn(async move { poll(&*peer, start + offset, start + length).await });
        }
        let moving = async {
            let Some((clock, step)) = &self.time else { return };
            while start.elapsed() + TOKEN_CALL * 5 < length {
                tokio::time::sleep(TOKEN_CALL * 5).await;
                clock.advance(*step);
            }
        };
        let polling = async {
            let mut asked = Vec::new();
            while let Some(of_one) = tasks.join_next().await {
                asked.extend(of_one.unwrap_or_default());
            }
            asked
        };
        let (asked, ()) = tokio::join!(polling, moving);
        let failed = asked.iter().filter(|one| !one.is_ok).count() + usize::from(!has_token);
        let rotations = self.server.calls() - first_calls;
        SubjectRecord { name: self.name, is_ours: self.is_ours, asked, start, failed, rotations }
    }
}

async fn watch_all(subjects: Vec<Subject>, length: Duration) -> Result<Vec<SubjectRecord>, Failure> {
    let tasks: Vec<_> = subjects.into_iter().map(|subject| tokio::spawn(subject.watch(length))).collect();
    let mut seen = Vec::new();
    for task in tasks {
        seen.push(task.await?);
    }
    Ok(seen)
}

/// A caller that asks all the time.
async fn poll(peer: &dyn AnyPeer, start: Instant, end: Instant) -> Vec<CallRecord> {
    let mut asked = Vec::new();
    let mut ticks = tokio::time::interval_at(start.into(), EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while Instant::now() < end {
        ticks.tick().await;
        let at = Instant::now();
        let mut token = pin!(peer.token());
        let mut waited = false;
        let is_ok = poll_fn(|context| {
            let poll = token.as_mut().poll(context);
            waited |= poll.is_pending();
            poll
        });
        let is_ok = is_ok.await.is_ok();
        asked.push(CallRecord { at, took: at.elapsed(), waited, is_ok });
    }
    asked
}

struct CallRecord {
    at: Instant,
    took: Duration,
    /// Whether the call had to wait for its answer.
    waited: bool,
    is_ok: bool,
}

struct SubjectRecord {
    name: String,
    is_ours: bool,
    asked: Vec<CallRecord>,
    start: Instant,
    failed: usize,
    rotations: u64,
}

impl SubjectRecord {
    /// Fails if the subject kept its first token or got none: its waits would say nothing. Our manager must
    /// not fail at all.
    fn check(&self) -> Result<(), Failure> {
        let (failed, rotations, asked) = (self.failed, self.rotations, self.asked.len());
        let fails = failed >= if self.is_ours { 1 } else { asked };
        if fails || rotations == 0 {
            let name = &self.name;
            return Err(format!("{name}: {failed} failures of {asked} calls, {rotations} rotations").into());
        }
        Ok(())
    }

    fn line(&self, control: &Self, others: &[Self]) -> Line {
        let max = self.max_wait();
        let waited = self.asked.iter().filter(|one| one.waited).count();
        let mut note = format!(
            "rotations: {}; had to wait: {waited} of {}; 99.9th percentile, corrected for coordinated \
             omission: {:.3} ms; longest call, whoever held it up: {:.1} ms (the control's: {:.1} ms)",
            self.rotations,
            self.asked.len(),
            quantile(&corrected(&self.asked), 0.999),
            self.longest_call(),
            control.longest_call(),
        );
        if self.failed > 0 {
            note += &format!("; told of a failure: {}", self.failed);
        }
        let mut line = Line::new(format!("{}: longest wait", self.name), max, "ms").note(note);
        if self.is_ours {
            let best = others.iter().map(Self::max_wait).fold(f64::INFINITY, f64::min);
            line = line
                .anchor(format!("of the peers that renew when asked, the best: {best:.0} ms"))
                .ratio(max / best)
                .goal("≤ 2 ms, and no call > 2 ms above the control's longest", self.is_prompt(control));
        }
        line
    }

    /// Whether no call waits longer than `MOST`, and a lock or work in a call delays none by more than
    /// `MOST` above the control's longest.
    fn is_prompt(&self, control: &Self) -> bool {
        self.max_wait() <= MOST && self.longest_call() <= control.longest_call() + MOST
    }

    /// The longest call among those that had to wait. A long call without a wait was preempted or held up:
    /// see `is_prompt`.
    fn max_wait(&self) -> f64 {
        let waits = self.asked.iter().filter(|one| one.waited).map(|one| millis(one.took));
        waits.fold(0.0, f64::max)
    }

    fn longest_call(&self) -> f64 {
        self.asked.iter().map(|one| millis(one.took)).fold(0.0, f64::max)
    }

    /// The longest call of each stretch of time.
    fn longest(&self) -> Vec<(f64, f64)> {
        let mut buckets: Vec<f64> = Vec::new();
        for one in &self.asked {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let bucket = (millis(one.at.saturating_duration_since(self.start)) / BUCKET) as usize;
            if buckets.len() <= bucket {
                buckets.resize(bucket + 1, 0.0);
            }
            buckets[bucket] = buckets[bucket].max(millis(one.took));
        }
        #[allow(clippy::cast_precision_loss)]
        let points = buckets.into_iter().enumerate().filter(|(_, longest)| *longest > 0.0);
        points.map(|(bucket, longest)| (bucket as f64 * BUCKET / 1e3, longest.max(MIN_SHOWN))).collect()
    }
}

/// The longest wait that our manager may cause, in milliseconds.
const MOST: f64 = 2.0;
/// In milliseconds.
const BUCKET: f64 = 50.0;
/// The shortest call that the drawing shows, in milliseconds. Shorter ones are calls without a wait.
const MIN_SHOWN: f64 = 0.1;

/// The waits, and those of the calls that the caller would have made meanwhile. A waiting caller asks less
/// often, and without this correction it would hide how many calls a stall concerns.
fn corrected(asked: &[CallRecord]) -> Vec<f64> {
    let mut waits = Vec::new();
    for one in asked {
        let mut left = if one.waited { one.took } else { Duration::ZERO };
        waits.push(millis(left));
        while left > EVERY {
            left -= EVERY;
            waits.push(millis(left));
        }
    }
    waits
}

/// The machine's clocks, which the suite can move ahead.
#[derive(Debug, Default)]
struct ShiftedClock(AtomicI64);

impl ShiftedClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_millis()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> ClockReading {
        let (now, by) = (SystemClock.now(), self.0.load(Ordering::Relaxed));
        ClockReading::from_millis(now.wall_millis() + by, now.monotonic_millis() + by)
    }
}

struct Ready;

impl Peer for Ready {
    type Token = ();
    type Error = Failure;

    async fn token(&self) -> Result<(), Failure> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls of these lengths in milliseconds, each with whether it had to wait.
    fn seen(calls: &[(u64, bool)]) -> SubjectRecord {
        let start = Instant::now();
        let one = |&(took, waited)| CallRecord {
            at: start,
            took: Duration::from_millis(took),
            waited,
            is_ok: true,
        };
        let asked = calls.iter().map(one).collect();
        SubjectRecord { name: "someone".to_owned(), is_ours: true, asked, start, failed: 0, rotations: 1 }
    }

    #[test]
    fn who_waits_or_is_held_up_is_not_prompt() {
        let control = seen(&[(0, false), (3, false)]);
        assert!(seen(&[(2, true), (5, false)]).is_prompt(&control));
        assert!(!seen(&[(3, true)]).is_prompt(&control), "a wait");
        assert!(!seen(&[(6, false)]).is_prompt(&control), "a lock");
    }

    #[test]
    fn who_had_no_rotation_is_named() {
        let told = |is_ours| {
            SubjectRecord { is_ours, rotations: 0, ..seen(&[(0, false)]) }.check().unwrap_err().to_string()
        };
        assert_eq!(told(true), "someone: 0 failures of 1 calls, 0 rotations");
        assert_eq!(told(false), told(true));
    }

    #[test]
    fn ours_may_not_fail_and_a_peer_not_always() {
        let is_fine =
            |is_ours, failed| SubjectRecord { is_ours, failed, ..seen(&[(0, false); 2]) }.check().is_ok();
        assert!(is_fine(true, 0) && !is_fine(true, 1));
        assert!(is_fine(false, 1) && !is_fine(false, 2));
    }
}
