//! What a client sends again, when, and how often: counted by the servers.

#![allow(clippy::expect_used)]

mod bodies;
mod budget;
mod repeated;
mod retry_after;
mod time;
mod token_calls;
mod with_tokens;
mod world;
