//! Hooks and logging over real sockets. What hooks see and in which order, what a failing one does, the
//! ready-made ones, and the lines that an operator reads.

#![allow(clippy::expect_used)]

mod failures;
mod log;
mod logging;
mod order;
mod ready_made;
mod world;
