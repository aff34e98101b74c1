//! The duties of every storage.

use std::sync::Arc;

use requestforge::TokenStorage;
use requestforge::testing::storage_conformance;

use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_what_every_storage_must_do() {
    let world = World::start().await;
    storage_conformance::check(world.storage(), "plain:").await;
    let shared: Arc<dyn TokenStorage> = Arc::new(world.storage());
    storage_conformance::check(shared, "behind a pointer:").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_for_many_at_once() {
    let world = World::start().await;
    let shared = world.storage();
    let mut checks = tokio::task::JoinSet::new();
    for number in 0..8 {
        checks.spawn(storage_conformance::check(shared.clone(), format!("{number}:").leak()));
        let builder = world.builder().key_prefix(format!("prefix {number}"));
        checks.spawn(storage_conformance::check(builder.build().expect("a storage"), "the same keys"));
    }
    while let Some(checked) = checks.join_next().await {
        checked.expect("no panic");
    }
}
