//! The manager over a storage that others share, which may be out of reach, in time that moves when it is
//! told to. Redis itself is in the integration suites; here each answer is chosen.

#![allow(clippy::expect_used, missing_docs)]

mod refresh_tokens;
mod staleness_limits;
mod turns;
mod world;
