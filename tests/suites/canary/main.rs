//! No secret in any output (invariant 16). The tests search `Debug`, `Display`, error chains and logs for
//! canaries in all forms that they could have there.
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
