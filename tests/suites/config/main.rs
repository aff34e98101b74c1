//! Services from files and from the environment: the settings of both do what they say, secrets come by
//! reference and may rotate, and what cannot be is named.

#![allow(clippy::expect_used)]

#[path = "../canary/canaries.rs"]
mod canaries;

mod environment;
mod files;
#[path = "../hooks/log.rs"]
mod log;
mod refusals;
mod rotation;
mod world;
