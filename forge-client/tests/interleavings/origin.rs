//! Stands in for `src/origin.rs`: the part of it that the breaker uses.

#[path = "../../src/origin/target.rs"]
mod target;

pub(crate) use target::{RequestUrl, absolute, origin_text};
