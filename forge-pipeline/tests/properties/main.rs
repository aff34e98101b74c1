//! Random pipelines of up to twelve steps, compared with a model. After any random events the pipeline must
//! call the same steps as the model.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod cycles;
mod events;
mod model;
mod names;
mod world;

use proptest::test_runner::Config;

/// The number of cases for a plain run. With `FORGE_TEST_LONG` set, it is fifty times as large.
fn cases(plain: u32) -> Config {
    let long = std::env::var_os("FORGE_TEST_LONG").is_some();
    Config { cases: if long { plain * 50 } else { plain }, failure_persistence: None, ..Config::default() }
}
