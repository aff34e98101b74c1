//! The common part of the bench programs: their measuring, and their output for `cargo xtask bench`.
//!
//! `cargo xtask bench` runs a bench program as `PROGRAM SUITE [--quick]`. The program prints one JSON object
//! per line on standard output: [`Line`], [`Plot`] or [`Count`]. It reports its progress on standard error
//! ([`progress`]). If it could not do its work, it ends with a message and a status other than 0. `PROGRAM
//! count CASE N` does the work of a [`Count`], and as little else as possible.

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
