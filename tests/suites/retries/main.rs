//! Which requests a client sends again, when, and how often. The servers count.

#![allow(clippy::expect_used)]

mod bodies;
mod budget;
mod repeated;
mod retry_after;
mod time;
mod token_calls;
mod with_tokens;
mod world;
