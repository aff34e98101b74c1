//! Services from files and from the environment: their settings take effect, secrets come by reference and may rotate,
//! and errors name the invalid field.

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
