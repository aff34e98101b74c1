//! The manager over a shared storage that may be out of reach, with a clock that only the test moves. The
//! test chooses each answer of the storage. The integration suites test Redis itself.

#![allow(clippy::expect_used, missing_docs)]

mod refresh_tokens;
mod staleness_limits;
mod turns;
mod world;
