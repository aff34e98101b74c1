//! What the bench programs have in common: how they measure, and what they print for `cargo xtask bench`.
//!
//! A bench program is run as `PROGRAM SUITE [--quick]`. It prints one JSON object per line on standard
//! output: [`Line`], [`Plot`] or [`Count`]; what it is doing meanwhile goes to standard error
//! ([`progress`]). It ends with a message and another status than 0 when it could not do its work.
//! `PROGRAM count CASE N` does the work of a [`Count`], and nothing else worth counting.

mod clock;
mod interleaved;
mod job;
mod message;
mod stats;

pub use clock::{CpuTime, ProcessTime};
pub use interleaved::{Contender, interleave, turns};
pub use job::Job;
pub use message::{Count, Line, Plot, progress};
pub use stats::{median, median_error, paired_ratio, quantile, quartiles};
