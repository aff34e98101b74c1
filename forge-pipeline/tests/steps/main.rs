//! Pipelines of fake steps.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod bonds;
mod failures;
mod laziness;
mod managed;
mod sharing;
mod storage;
mod trouble;
mod world;
