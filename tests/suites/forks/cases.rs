//! The cases, and the parts of a test harness that they need. This program has no harness, since the harness
//! would have threads when the program forks.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Duration;

use requestforge::TokenData;
use serde_json::Value;

use crate::world::{CHILDREN, World};

type Case = (&'static str, fn() -> std::pin::Pin<Box<dyn Future<Output = ()>>>);

const CASES: [Case; 4] = [
    ("inv32_each_worker_has_a_name_of_its_own", || Box::pin(each_worker_has_a_name_of_its_own())),
    ("inv32_workers_renew_once_for_all", || Box::pin(workers_renew_once_for_all())),
    ("inv32_workers_hear_what_a_sibling_invalidates", || Box::pin(workers_hear_what_a_sibling_invalidates())),
    ("inv32_a_storage_that_was_in_use_before_goes_on_in_each_worker", || {
        Box::pin(a_storage_that_was_in_use_before_goes_on_in_each_worker())
    }),
];

/// Runs the cases whose names contain one of the given words.
pub(crate) fn run() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_meant = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let mut failed = 0;
    for (name, case) in CASES.into_iter().filter(|(name, _)| is_meant(name)) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let is_good = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case()))).is_ok();
        println!("test {name} ... {}", if is_good { "ok" } else { "FAILED" });
        failed += usize::from(!is_good);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn each_worker_has_a_name_of_its_own() {
    let world = World::start().await;
    let told = world.fork("tell who you are").await;
    let each = |told: &Value| told["told"]["holders"].as_array().expect("two names").clone();
    let holders: BTreeSet<String> = told.iter().flat_map(each).map(|holder| holder.to_string()).collect();
    assert_eq!(holders.len(), 2 * (CHILDREN + 1), "two hold the same lease: {holders:?}");
    let ids: BTreeSet<_> = told.iter().map(|told| told["told"]["correlation_id"].to_string()).collect();
    assert_eq!(ids.len(), CHILDREN + 1, "two calls have one correlation id: {ids:?}");
}

async fn workers_renew_once_for_all() {
    let world = World::start().await;
    world.store_an_expired_token().await;
    // Longer than all workers need to begin.
    world.issuer.set_delay(Duration::from_secs(1));
    let before = world.issuer.token_calls();
    let told = world.fork("renew").await;
    assert_eq!(world.issuer.calls_by_grant("refresh_token"), 1, "a refresh token is sent once");
    assert_eq!(world.issuer.token_calls() - before, 1);
    let tokens: BTreeSet<_> = told.iter().map(|told| told["told"].to_string()).collect();
    assert_eq!(tokens.len(), 1);
}

async fn workers_hear_what_a_sibling_invalidates() {
    let world = World::start().await;
    world.store(&TokenData::new("t").with_expires_in(Duration::from_secs(3_600))).await;
    let told = world.fork("invalidate").await;
    assert!(told.iter().all(|told| told["told"] == true), "one has not heard of it");
}

async fn a_storage_that_was_in_use_before_goes_on_in_each_worker() {
    let world = World::start().await;
    let told = world.fork("go on").await;
    assert!(told.iter().all(|told| told["told"] == true), "one cannot use it");
}
