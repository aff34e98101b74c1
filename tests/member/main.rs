//! One process of a fleet. It reads orders from its standard input and writes reports to its standard
//! output, both as in `forge_tests::fleet`. It ends when its standard input ends.

mod manager;
mod steps;
mod watch;

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::time::Duration;

use forge_tests::fleet::{Order, Outcome, Report, Work, now};
use tokio::task::JoinSet;

use crate::manager::{Maker, ManagedTokens};
use crate::watch::Watch;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    // The threads of a service on a small machine. With a thread for each processor, sixteen processes would
    // only wait for each other.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut member = Member::default();
    for line in stdin().lock().lines() {
        let report = runtime.block_on(member.obey(serde_json::from_str(&line?)?))?;
        let mut line = serde_json::to_vec(&report)?;
        line.push(b'\n');
        stdout().lock().write_all(&line)?;
    }
    Ok(())
}

#[derive(Default)]
struct Member {
    maker: Option<Maker>,
    by_key: HashMap<String, Arc<ManagedTokens>>,
    watch: Option<Watch>,
}

impl Member {
    async fn obey(&mut self, order: Order) -> Result<Report> {
        match order {
            Order::Open(settings) => {
                self.maker = Some(Maker::new(&settings)?);
                Ok(Report::Done)
            }
            Order::Run { work, at } => self.run(work, at).await,
            Order::Use { key, tasks, pause_millis, until } => {
                let managed = self.managed(&key)?;
                let pause = Duration::from_millis(pause_millis);
                let outcome = all((0..tasks).map(|_| Arc::clone(&managed).use_until(pause, until))).await;
                Ok(Report::Outcomes(vec![outcome]))
            }
            Order::Watch(key) => {
                self.watch = Some(Watch::begin(self.managed(&key)?));
                Ok(Report::Done)
            }
            Order::Watched => self.watch.take().ok_or("nothing is watched")?.gone().await,
            Order::Show(keys) => {
                let at_hand: Result<_> = keys.iter().map(|key| Ok(self.managed(key)?.at_hand())).collect();
                Ok(Report::AtHand(at_hand?))
            }
            Order::Tell(key) => Ok(Report::State(self.managed(&key)?.state())),
        }
    }

    async fn run(&mut self, work: Vec<Work>, at: u64) -> Result<Report> {
        let mut groups = Vec::new();
        for Work { key, what, tasks, after } in work {
            let at = at + after * 1_000;
            let managed = self.managed(&key)?;
            let callers = (0..tasks).map(move |_| Arc::clone(&managed).call(what, at));
            groups.push(tokio::spawn(all(callers)));
        }
        let mut outcomes = Vec::new();
        for group in groups {
            outcomes.push(group.await?);
        }
        Ok(Report::Outcomes(outcomes))
    }

    fn managed(&mut self, key: &str) -> Result<Arc<ManagedTokens>> {
        if let Some(known) = self.by_key.get(key) {
            return Ok(Arc::clone(known));
        }
        let managed = Arc::new(self.maker.as_ref().ok_or("not opened yet")?.manage(key)?);
        self.by_key.insert(key.to_owned(), Arc::clone(&managed));
        Ok(managed)
    }
}

/// The combined outcome of many callers at once.
fn all<C>(callers: impl Iterator<Item = C>) -> impl Future<Output = Outcome> + Send
where
    C: Future<Output = Outcome> + Send + 'static,
{
    let callers: JoinSet<Outcome> = callers.collect();
    async move {
        let mut all = Outcome::default();
        for one in callers.join_all().await {
            all.tokens.extend(one.tokens);
            all.without += one.without;
            all.errors.extend(one.errors);
            all.longest = all.longest.max(one.longest);
            all.ended = all.ended.max(one.ended);
        }
        all
    }
}

/// Sleeps until a moment that all processes know.
async fn until(at: u64) {
    let left = Duration::from_nanos(at.saturating_sub(now()));
    if !left.is_zero() {
        tokio::time::sleep(left).await;
    }
}
