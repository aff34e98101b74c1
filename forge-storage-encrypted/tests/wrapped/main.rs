//! The encrypted storage around other storages: the records that they get, the tokens that come back, and
//! the events in between.

#![allow(clippy::expect_used, missing_docs)]

mod conformance;
mod fence;
mod misses;
mod racing;
mod rotation;
mod world;
