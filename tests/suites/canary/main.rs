//! No secret in any output (invariant 16): `Debug`, `Display`, error chains and logs are searched for
//! canaries, in whatever form one could have got there.
//!
//! Each new public type, error or log line needs a line in `types.rs`, `refusals.rs`, `answers.rs`, `bodies.rs`,
//! `escapes.rs`, `parts.rs`, `hooks.rs`, `redirects.rs`, `session.rs` or `steps.rs`. Add new forms of a secret to
//! `canaries.rs`, with an example in its tests.

#![allow(clippy::expect_used)]

mod answers;
mod auth;
mod bodies;
mod canaries;
mod escapes;
mod hooks;
mod http2;
mod logs;
mod parts;
mod redirects;
mod refusals;
mod session;
mod settings;
mod steps;
mod types;
