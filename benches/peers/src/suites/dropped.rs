//! The first caller begins the fetch and goes away. A hundred other callers wait.

use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_bench_kit::{Line, median, paired_ratio, progress, turns};

use super::storm::{millis, storm};
use super::working::all_work;
use crate::Failure;
use crate::peers::{Entry, OURS, PEERS};
use crate::world::{HOUR, World};

pub fn run(world: &World, quick: bool) -> Result<(), Failure> {
    all_work(world)?;
    let rounds = if quick { 5 } else { 25 };
    progress(format_args!("{rounds} rounds, in turn"));
    let mut rows: Vec<Row> = [OURS].into_iter().chain(PEERS).map(Row::new).collect();
    for round in 0..rounds {
        for place in turns(round, rows.len()) {
            let row = &mut rows[place];
            if row.is_worth_a_round() {
                world.callers.block_on(row.round(world))?;
            }
        }
    }

    let (ours, peers) = rows.split_first().ok_or("nobody was timed")?;
    let most_calls = ours.calls.iter().copied().fold(0.0, f64::max);
    let others: Vec<String> =
        peers.iter().map(|row| format!("{} {}", row.peer.name, median(&row.calls))).collect();
    Line::new("token calls", most_calls, "calls")
        .anchor(others.join(", "))
        .goal("1", most_calls == 1.0)
        .note("the most of all rounds")
        .print();
    let wall = median(&ours.walls);
    Line::new("until the last of the others has its token", wall, "ms")
        .anchor("the token call: 50 ms, begun by the one who went away")
        .ratio(wall / millis(TOKEN_CALL))
        .goal("≤ 55 ms", wall <= 55.0)
        .spread_of(&ours.walls)
        .print();
    for row in peers {
        Line::new(row.peer.name, median(&row.walls), "ms")
            .anchor(format!("{}: {wall:.1} ms", OURS.name))
            .ratio(paired_ratio(&row.walls, &ours.walls))
            .spread_of(&row.walls)
            .note(format!("token calls: {}", median(&row.calls)))
            .print();
    }
    Ok(())
}

const TOKEN_CALL: Duration = Duration::from_millis(50);
const GOES_AFTER: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(20);

struct Row {
    peer: Entry,
    walls: Vec<f64>,
    calls: Vec<f64>,
}

impl Row {
    fn new(peer: Entry) -> Self {
        Self { peer, walls: Vec::new(), calls: Vec::new() }
    }

    /// Whether another round is worth its time. A peer that took seconds once does so each time.
    fn is_worth_a_round(&self) -> bool {
        self.walls.iter().all(|wall| *wall < 1_000.0)
    }

    async fn round(&mut self, world: &World) -> Result<(), Failure> {
        let server = world.token_server(TOKEN_CALL, HOUR).await?;
        let peer = self.peer.connect(&server).await?;
        let start = Instant::now();
        let first = {
            let peer = Arc::clone(&peer);
            tokio::spawn(async move { peer.token().await.is_ok() })
        };
        // Waits until the first caller's fetch is under way.
        while server.calls() == 0 && start.elapsed() < GOES_AFTER {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let goes = async {
            tokio::time::sleep(GOES_AFTER.saturating_sub(start.elapsed())).await;
            first.abort();
        };
        let (told, ()) = tokio::join!(storm(&peer, 100, LIMIT), goes);
        if self.peer.name == OURS.name && told.failed + told.untold > 0 {
            return Err(format!("{} callers of ours got no token", told.failed + told.untold).into());
        }
        self.walls.push(millis(start.elapsed()));
        #[allow(clippy::cast_precision_loss)]
        self.calls.push(server.calls() as f64);
        Ok(())
    }
}
