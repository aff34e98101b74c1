//! More and more tokens in memory: the time of a hit, the memory per token, and the memory left after they
//! have expired.

mod holder;
mod memory;

use forge_bench_kit::{Line, Plot, progress};
use serde_json::Value;

use crate::child::Process;
use crate::{Pace, Result};
pub(crate) use holder::{MOKA, WORD, hold, hold_in_moka};

const SIZES: [u32; 4] = [1, 1_000, 100_000, 1_000_000];
/// The number of sizes in a quick run.
const QUICK: usize = 3;
/// With fewer tokens, the rest of the process takes more memory than they do.
const COUNTABLE: u32 = 100_000;

pub(crate) fn run(pace: Pace) -> Result<()> {
    let mut all = Vec::new();
    for tokens in &SIZES[..pace.rounds(QUICK, SIZES.len())] {
        progress(format_args!("{tokens} tokens"));
        all.push(HeldTokens::measure(*tokens)?);
    }
    print_times(&all);
    for held in all.iter().filter(|held| held.tokens >= COUNTABLE) {
        held.print_memory();
    }
    if pace == Pace::Quick {
        Line::full_run_only("1,000,000 tokens", "as with fewer").print();
    }
    Ok(())
}

/// The measurements with this many tokens.
struct HeldTokens {
    tokens: u32,
    /// A hit of a manager over the storage, in nanoseconds.
    hit: f64,
    /// A read from the storage, of another token each time, in nanoseconds.
    read: f64,
    bytes: f64,
    /// After all tokens have expired and the storage has removed them.
    bytes_expired: f64,
    /// After all tokens have expired, and as many new ones are stored.
    bytes_renewed: f64,
    /// The same once more.
    bytes_again: f64,
    /// Moka's memory for as many keys and texts.
    bytes_moka: f64,
    read_moka: f64,
}

impl HeldTokens {
    /// Measures in separate processes, whose memory consists mostly of their tokens.
    fn measure(tokens: u32) -> Result<Self> {
        let ours = told(&[WORD, &tokens.to_string()])?;
        let moka = told(&[WORD, &tokens.to_string(), MOKA])?;
        // Some systems do not report every value. A missing value becomes `NaN`.
        let number = |told: &Value, name: &str| told[name].as_f64().unwrap_or(f64::NAN);
        Ok(Self {
            tokens,
            hit: number(&ours, "hit"),
            read: number(&ours, "read"),
            bytes: number(&ours, "bytes"),
            bytes_expired: number(&ours, "bytes_expired"),
            bytes_renewed: number(&ours, "bytes_renewed"),
            bytes_again: number(&ours, "bytes_again"),
            bytes_moka: number(&moka, "bytes"),
            read_moka: number(&moka, "read"),
        })
    }

    fn print_memory(&self) {
        let tokens = f64::from(self.tokens);
        let each = self.bytes / tokens;
        Line::new(format!("memory of a token, {} held", self.tokens), each, "bytes")
            .anchor(format!(
                "moka with a key and an Arc of 40 characters: {:.0} bytes",
                self.bytes_moka / tokens
            ))
            .ratio(self.bytes / self.bytes_moka)
            .goal("≤ 800 bytes", each <= 800.0)
            .note("resident memory of a process, with what its allocator adds")
            .print();
        let name = format!("memory when {} tokens have expired and left", self.tokens);
        Line::new(name, self.bytes_expired / 1e6, "MB")
            .anchor(format!("when they were there {:.1} MB", self.bytes / 1e6))
            .ratio(self.bytes_expired / self.bytes)
            .note("the allocator keeps what is free, for what comes: see the next line")
            .print();
        let ratio = self.bytes_again / self.bytes_renewed;
        let name = format!("memory when {} tokens have expired twice, and come again", self.tokens);
        Line::new(name, self.bytes_again / 1e6, "MB")
            .anchor(format!("expired once, and come again {:.1} MB", self.bytes_renewed / 1e6))
            .ratio(ratio)
            .goal("returned to the allocator: ≤ 1.1 ×", ratio <= 1.1)
            .note("were it not returned, each generation would add its own")
            .print();
    }
}

fn print_times(all: &[HeldTokens]) {
    let (least, greatest) = all.iter().fold((f64::INFINITY, 0.0_f64), |(least, greatest), held| {
        (held.hit.min(least), held.hit.max(greatest))
    });
    let Some(fullest) = all.last() else { return };
    Line::new(format!("a hit, 1 to {} tokens held", fullest.tokens), greatest, "ns at most")
        .anchor(format!("{least:.1} ns at least"))
        .ratio(greatest / least)
        .goal("flat within 2 ×", greatest / least <= 2.0)
        .print();
    Line::new(
        format!("a read of the storage, another of {} tokens each time", fullest.tokens),
        fullest.read,
        "ns",
    )
    .anchor(format!("moka {:.0} ns", fullest.read_moka))
    .ratio(fullest.read / fullest.read_moka)
    .note("no hit asks the storage; what grows is the time in which memory answers")
    .print();
    let curve =
        |of: fn(&HeldTokens) -> f64| all.iter().map(|held| (f64::from(held.tokens), of(held))).collect();
    Plot::new("More and more tokens in memory", "tokens held", "ns")
        .logarithmic(true, true)
        .series("a hit", curve(|held| held.hit))
        .series("a read of the storage, another token each time", curve(|held| held.read))
        .series("the same of moka alone", curve(|held| held.read_moka))
        .print();
}

fn told(words: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&Process::of_ourselves(words)?.line()?)?)
}
