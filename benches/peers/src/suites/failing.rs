//! The token endpoint is down, and many callers ask for a token.

use std::time::Duration;

use forge_bench_kit::{Line, median, progress, quartiles};

use super::storm::{StormOutcome, millis, storm};
use super::working::all_work;
use crate::Failure;
use crate::peers::{Entry, OURS, PEERS};
use crate::world::{HOUR, World};

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    all_work(world)?;
    let rounds = if quick { 9 } else { 41 };
    progress(format_args!("ours, {rounds} rounds"));
    let ours: Vec<Trial> = (0..rounds)
        .map(|_| world.callers.block_on(Trial::run(world, OURS, Duration::from_secs(5))))
        .collect::<Result<_, _>>()?;
    if let Some(lost) =
        ours.iter().find(|trial| trial.first.failed != CALLERS || trial.next.failed != CALLERS)
    {
        return Err(format!("{} callers of ours were told of the failure", lost.first.failed).into());
    }
    // The peers mostly wait, so the suite runs them together.
    let limit = Duration::from_secs(if quick { 6 } else { 90 });
    progress(format_args!("the others, all at once, for at most {} s", limit.as_secs()));
    let peers: Vec<Trial> = world.callers.block_on(async {
        let trial = |peer| Trial::run(world, peer, limit);
        let [a, b, c, d, e, f, g] = PEERS.map(trial);
        let (a, b, c, d, e, f, g) = tokio::try_join!(a, b, c, d, e, f, g)?;
        Ok::<_, Failure>(vec![a, b, c, d, e, f, g])
    })?;

    let of = |figure: fn(&Trial) -> f64| ours.iter().map(figure).collect::<Vec<_>>();
    let most = |figure: fn(&Trial) -> f64| of(figure).into_iter().fold(0.0, f64::max);
    let told_peers = |figure: fn(&Trial) -> f64, unit: &str| {
        let each = PEERS.iter().zip(&peers).map(|(peer, trial)| match trial.first.untold {
            0 => format!("{} {:.0}{unit}", peer.name, figure(trial)),
            _ => format!("{} over {:.0}{unit}", peer.name, figure(trial)),
        });
        each.collect::<Vec<_>>().join(", ")
    };
    let calls = most(Trial::first_calls);
    Line::new("100 callers: token calls", calls, "calls")
        .anchor(told_peers(Trial::first_calls, ""))
        .goal("2", calls == 2.0)
        .note("the most of all rounds")
        .print();
    let walls = of(Trial::first_wall);
    let wall = median(&walls);
    Line::new("100 callers: until the last is told", wall, "ms")
        .anchor(told_peers(Trial::first_wall, " ms"))
        .goal("≤ 260 ms", wall <= 260.0)
        .spread(quartiles(&walls))
        .print();
    let calls = most(Trial::next_calls);
    Line::new("the next 100: token calls", calls, "calls")
        .goal("0", calls == 0.0)
        .note("the most of all rounds")
        .print();
    let walls = of(Trial::next_wall);
    let wall = median(&walls);
    let finished = peers.iter().filter(|trial| trial.first.untold + trial.next.untold == 0);
    let best = finished.map(Trial::next_wall).fold(f64::INFINITY, f64::min);
    Line::new("the next 100: until the last is told", wall, "ms")
        .anchor(format!("the best peer: {best:.1} ms"))
        .ratio(wall / best)
        .goal("< 1 ms", wall < 1.0)
        .spread(quartiles(&walls))
        .print();
    Ok(())
}

const CALLERS: usize = 100;
/// Our manager makes a token call, pauses for 50 to 150 ms, and makes another one.
const TOKEN_CALL: Duration = Duration::from_millis(50);

struct Trial {
    first: StormOutcome,
    calls: u64,
    next: StormOutcome,
    calls_of_next: u64,
}

impl Trial {
    async fn run(world: &World, peer: Entry, limit: Duration) -> Result<Self, Failure> {
        let server = world.token_server(TOKEN_CALL, HOUR).await?;
        server.fail();
        let peer = peer.connect(&server).await?;
        let first = storm(&peer, CALLERS, limit).await;
        let calls = server.calls();
        // The suite does not ask a peer again that left a caller of the first hundred without a result.
        let again = if first.untold == 0 { CALLERS } else { 0 };
        let next = storm(&peer, again, limit).await;
        Ok(Self { first, calls, next, calls_of_next: server.calls() - calls })
    }

    #[allow(clippy::cast_precision_loss)]
    fn first_calls(&self) -> f64 {
        self.calls as f64
    }

    #[allow(clippy::cast_precision_loss)]
    fn next_calls(&self) -> f64 {
        self.calls_of_next as f64
    }

    fn first_wall(&self) -> f64 {
        millis(self.first.wall)
    }

    fn next_wall(&self) -> f64 {
        millis(self.next.wall)
    }
}
