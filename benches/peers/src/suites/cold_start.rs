//! No token is cached, and many callers ask for one at once.

use std::time::Duration;

use forge_bench_kit::{Line, Plot, median, paired_ratio, progress, turns};

use super::storm::{millis, storm};
use super::working::all_work;
use crate::Failure;
use crate::peers::{Entry, OURS, PEERS};
use crate::world::{HOUR, World};

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    all_work(world)?;
    let crowds: &[usize] = if quick { &[1_000, 10_000] } else { &[10, 100, 1_000, 10_000] };
    let mut rows: Vec<Row> = [OURS].into_iter().chain(PEERS).map(Row::new).collect();
    for &crowd in crowds {
        let rounds = if quick { 7 } else { 21 };
        progress(format_args!("{crowd} callers, {rounds} rounds, in turn"));
        for row in &mut rows {
            row.trials.push((crowd, Trials::default()));
        }
        for round in 0..rounds {
            for place in turns(round, rows.len()) {
                let row = &mut rows[place];
                if row.is_worth(crowd, round) {
                    world.callers.block_on(row.round(world, crowd))?;
                }
            }
        }
        lines(&rows, crowd)?;
    }
    plot(&rows);
    Ok(())
}

const TOKEN_CALL: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(20);

struct Row {
    peer: Entry,
    trials: Vec<(usize, Trials)>,
}

#[derive(Default)]
struct Trials {
    walls: Vec<f64>,
    calls: Vec<f64>,
    failed: usize,
}

impl Row {
    fn new(peer: Entry) -> Self {
        Self { peer, trials: Vec::new() }
    }

    fn last(&self) -> &Trials {
        &self.trials[self.trials.len() - 1].1
    }

    /// Whether the suite runs this round. If a peer does not share its fetch, each caller takes a
    /// connection: a process may not have thousands of them, and one round with hundreds says enough.
    fn is_worth(&self, crowd: usize, round: usize) -> bool {
        let shares = self.trials.iter().all(|(_, trials)| trials.calls.iter().all(|calls| *calls < 10.0));
        shares || (crowd <= 1_000 && round < 1)
    }

    async fn round(&mut self, world: &World, crowd: usize) -> Result<(), Failure> {
        let server = world.token_server(TOKEN_CALL, HOUR).await?;
        let peer = self.peer.connect(&server).await?;
        let told = storm(&peer, crowd, LIMIT).await;
        let lost = told.failed + told.untold;
        if self.peer.name == OURS.name && lost > 0 {
            return Err(format!("{lost} of {crowd} callers of ours got no token").into());
        }
        let at = self.trials.len() - 1;
        let trials = &mut self.trials[at].1;
        trials.walls.push(millis(told.wall));
        #[allow(clippy::cast_precision_loss)]
        trials.calls.push(server.calls() as f64);
        trials.failed += lost;
        Ok(())
    }
}

fn lines(rows: &[Row], crowd: usize) -> Result<(), Failure> {
    let (ours, peers) = rows.split_first().ok_or("nobody was timed")?;
    let ours = ours.last();
    let one_call = |row: &&Row| !row.last().calls.is_empty() && median(&row.last().calls) == 1.0;
    let best = peers
        .iter()
        .filter(one_call)
        .min_by(|one, other| median(&one.last().walls).total_cmp(&median(&other.last().walls)));
    let best = best.ok_or("no peer made do with one call")?;

    let most_calls = ours.calls.iter().copied().fold(0.0, f64::max);
    Line::new(format!("{crowd} callers: token calls"), most_calls, "calls")
        .anchor(all_calls(peers))
        .goal("1", most_calls == 1.0)
        .note("the most of all rounds")
        .print();
    let (wall, ratio) = (median(&ours.walls), paired_ratio(&ours.walls, &best.last().walls));
    Line::new(format!("{crowd} callers: until the last has its token"), wall, "ms")
        .anchor(format!("the best peer, {}: {:.1} ms", best.peer.name, median(&best.last().walls)))
        .ratio(ratio)
        .goal("≤ 1.1 × the best peer's", ratio <= 1.1)
        .spread_of(&ours.walls)
        .print();
    for row in peers {
        let trials = row.last();
        let name = format!("{crowd} callers: {}", row.peer.name);
        if trials.walls.is_empty() {
            continue;
        }
        let mut note = format!("token calls: {}", median(&trials.calls));
        if trials.failed > 0 {
            note += &format!("; callers without a token, of all rounds: {}", trials.failed);
        }
        Line::new(name, median(&trials.walls), "ms")
            .anchor(format!("{}: {wall:.1} ms", OURS.name))
            .ratio(paired_ratio(&trials.walls, &ours.walls))
            .spread_of(&trials.walls)
            .note(note)
            .print();
    }
    Ok(())
}

fn all_calls(peers: &[Row]) -> String {
    let measured = peers.iter().filter(|row| !row.last().calls.is_empty());
    measured
        .map(|row| format!("{} {}", row.peer.name, median(&row.last().calls)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn plot(rows: &[Row]) {
    let mut plot =
        Plot::new("Cold start: until the last caller has its token", "callers", "ms").logarithmic(true, true);
    for row in rows {
        let measured = row.trials.iter().filter(|(_, trials)| !trials.walls.is_empty());
        #[allow(clippy::cast_precision_loss)]
        let points = measured.map(|(crowd, trials)| (*crowd as f64, median(&trials.walls))).collect();
        plot = plot.series(row.peer.name, points);
    }
    plot.print();
}
