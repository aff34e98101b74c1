//! Two pipelines of a process that have a step in common.

use forge_tests::Step;
use requestforge::TokenFetchPipeline;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::{LIMIT, World};

over_each_storage![
    inv01_two_pipelines_over_one_storage_fetch_the_step_they_share_once,
    inv17_with_another_prefix_nothing_is_shared,
];

fn to_the_user(world: &World, prefix: &str) -> TokenFetchPipeline {
    let pipeline = world.pipeline().cache_key_prefix(prefix).step(world.app().build().expect("a step"));
    pipeline.step(world.user().build().expect("a step")).build().expect("a pipeline")
}

fn to_the_machine(world: &World, prefix: &str) -> TokenFetchPipeline {
    let device = world.device().depends_on(["app_token"]).build().expect("a step");
    let pipeline = world.pipeline().cache_key_prefix(prefix).step(world.app().build().expect("a step"));
    pipeline.step(device).build().expect("a pipeline")
}

/// Both of them, many times at once, until nothing is answered before all have asked.
async fn both(world: &World, pipelines: [TokenFetchPipeline; 2], app_calls: usize) {
    world.server.hold(Step::App);
    let mut executions = JoinSet::new();
    for _ in 0..50 {
        for pipeline in pipelines.clone() {
            executions.spawn(async move { pipeline.execute(false).await.map(drop) });
        }
    }
    timeout(LIMIT, world.server.until_held(app_calls)).await.expect("calls");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    world.server.release(Step::App);
    assert!(executions.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
}

async fn inv01_two_pipelines_over_one_storage_fetch_the_step_they_share_once(world: World) {
    let pipelines = [to_the_user(&world, "shared"), to_the_machine(&world, "shared")];
    both(&world, pipelines.clone(), 1).await;
    assert_eq!(world.server.all_calls(), [1, 1, 1, 0]);

    // What one of them invalidates, the other one does not have any more.
    pipelines[0].invalidate_step("app_token").await.expect("a step");
    pipelines[1].execute(true).await.expect("a token");
    assert_eq!(world.server.all_calls(), [2, 2, 1, 0]);
    pipelines[0].execute(false).await.expect("a token");
    assert_eq!(world.server.all_calls(), [2, 2, 2, 0]);
}

async fn inv17_with_another_prefix_nothing_is_shared(world: World) {
    let pipelines = [to_the_user(&world, "one"), to_the_machine(&world, "other")];
    both(&world, pipelines, 2).await;
    assert_eq!(world.server.all_calls(), [2, 1, 1, 0]);
}
