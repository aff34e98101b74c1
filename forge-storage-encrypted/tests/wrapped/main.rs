//! The storage around others: what they get, what comes back, and what happens in between.

#![allow(clippy::expect_used, missing_docs)]

mod conformance;
mod fence;
mod misses;
mod racing;
mod rotation;
mod world;
