//! The client and token sources for programs without `async`: threads that may wait, and threads that must
//! not.

#![allow(clippy::expect_used)]

mod background;
mod calls;
mod contexts;
mod many;
mod process;
mod threads;
mod world;
