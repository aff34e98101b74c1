//! Hooks and logging over real sockets: which events hooks see and in which order, the effect of a failing
//! hook, the ready-made hooks, and the lines that an operator reads.

#![allow(clippy::expect_used)]

mod failures;
mod log;
mod logging;
mod order;
mod ready_made;
mod world;
