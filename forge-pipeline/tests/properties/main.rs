//! Random pipelines of up to twelve steps, compared with a model: whatever happens to them, what is called
//! is what has to be.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod cycles;
mod events;
mod model;
mod names;
mod world;

use proptest::test_runner::Config;

/// As many cases as a plain run has time for; with `FORGE_TEST_LONG` set, many more.
fn cases(plain: u32) -> Config {
    let long = std::env::var_os("FORGE_TEST_LONG").is_some();
    Config { cases: if long { plain * 50 } else { plain }, failure_persistence: None, ..Config::default() }
}
