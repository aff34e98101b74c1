//! Two pipelines of one process that share a step.

use forge_tests::Step;
use requestforge::pipeline::SharedSteps;
use requestforge::{BodyTokenFetcher, TokenFetchPipeline};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::{LIMIT, World};

over_each_storage![
    inv01_two_pipelines_over_one_storage_fetch_the_step_they_share_once,
    a_pipeline_that_is_built_anew_brings_its_secret_to_the_steps_it_shares,
    inv17_with_another_prefix_nothing_is_shared,
];

fn to_the_user(world: &World, prefix: &str, shared: &SharedSteps) -> TokenFetchPipeline {
    let pipeline = world.sharing_pipeline(shared).cache_key_prefix(prefix);
    let pipeline = pipeline.step(world.app().build().expect("a step"));
    pipeline.step(world.user().build().expect("a step")).build().expect("a pipeline")
}

fn to_the_machine(world: &World, prefix: &str, shared: &SharedSteps) -> TokenFetchPipeline {
    let device = world.device().depends_on(["app_token"]).build().expect("a step");
    let pipeline = world.sharing_pipeline(shared).cache_key_prefix(prefix);
    let pipeline = pipeline.step(world.app().build().expect("a step"));
    pipeline.step(device).build().expect("a pipeline")
}

/// Executes both pipelines many times at once. The server answers after all callers have begun.
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
    let shared = world.shared_steps();
    let pipelines = [to_the_user(&world, "shared", &shared), to_the_machine(&world, "shared", &shared)];
    both(&world, pipelines.clone(), 1).await;
    assert_eq!(world.server.all_calls(), [1, 1, 1, 0]);

    // One pipeline invalidates the shared step, and the other one fetches it again.
    pipelines[0].invalidate_step("app_token").await.expect("a step");
    pipelines[1].execute(true).await.expect("a token");
    assert_eq!(world.server.all_calls(), [2, 2, 1, 0]);
    pipelines[0].execute(false).await.expect("a token");
    assert_eq!(world.server.all_calls(), [2, 2, 2, 0]);
}

/// A program loads its configuration again, and both pipelines go on with the new secret.
async fn a_pipeline_that_is_built_anew_brings_its_secret_to_the_steps_it_shares(world: World) {
    let shared = world.shared_steps();
    let build = |step: BodyTokenFetcher| {
        let pipeline = world.sharing_pipeline(&shared).step(step).step(world.user().build().expect("a step"));
        pipeline.build().expect("a pipeline")
    };
    let old = world.app().request_data_with(|_| [("client_secret", "wrong")]);
    let old = build(old.build().expect("a step"));
    old.execute(false).await.expect_err("a wrong secret");
    let new = build(world.app().build().expect("a step"));
    new.execute(false).await.expect("a token");
    // The old pipeline has the same step.
    old.execute(false).await.expect("a token");
    assert_eq!(world.server.all_calls(), [2, 0, 1, 0]);
}

async fn inv17_with_another_prefix_nothing_is_shared(world: World) {
    let shared = world.shared_steps();
    let pipelines = [to_the_user(&world, "one", &shared), to_the_machine(&world, "other", &shared)];
    both(&world, pipelines, 2).await;
    assert_eq!(world.server.all_calls(), [2, 1, 1, 0]);
}
