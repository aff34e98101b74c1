//! Many callers at once, and no token yet.

use std::collections::HashSet;
use std::sync::Arc;

use forge_tests::Step;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::world::{LIMIT, World, bearer, provider, until};

over_each_storage![
    inv01_a_thousand_requests_on_a_cold_pipeline_are_one_call_of_each_step,
    inv01_a_thousand_executions_of_a_cold_pipeline_are_one_call_of_each_step,
    steps_that_do_not_need_each_other_are_fetched_at_once,
    a_step_that_two_others_need_is_fetched_once,
];

const CROWD: usize = 1000;

async fn inv01_a_thousand_requests_on_a_cold_pipeline_are_one_call_of_each_step(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let client = world.client(&world.manager(provider(&pipeline)));
    // The server answers after all requests have begun.
    world.server.hold(Step::App);
    let start = Arc::new(Barrier::new(CROWD + 1));
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let (request, start) = (client.get(format!("/orders/{number}")), Arc::clone(&start));
        crowd.spawn(async move {
            start.wait().await;
            request.send().await.expect("an answer").is_success()
        });
    }
    start.wait().await;
    timeout(LIMIT, world.server.until_held(1)).await.expect("a call");
    world.server.release(Step::App);
    assert!(crowd.join_all().await.into_iter().all(|is_success| is_success));
    assert_eq!(world.server.all_calls(), [1, 0, 1, 1]);
    assert_eq!((world.server.accepted(), world.server.rejected()), (CROWD, 0));
}

async fn inv01_a_thousand_executions_of_a_cold_pipeline_are_one_call_of_each_step(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    for step in [Step::App, Step::User, Step::Session] {
        world.server.hold(step);
    }
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let pipeline = pipeline.clone();
        crowd.spawn(async move { pipeline.execute(false).await.expect("a token").id() });
    }
    // All callers wait for each step in turn.
    for step in [Step::App, Step::User, Step::Session] {
        until(|| world.server.calls(step) == 1).await;
        world.server.release(step);
    }
    let tokens: HashSet<_> = crowd.join_all().await.into_iter().collect();
    assert_eq!((tokens.len(), world.server.all_calls()), (1, [1, 0, 1, 1]));
}

async fn steps_that_do_not_need_each_other_are_fetched_at_once(world: World) {
    let pipeline = world
        .pipeline()
        .step(world.app().build().expect("a step"))
        .step(world.device().build().expect("a step"))
        .step(world.user_of_two().build().expect("a step"))
        .build()
        .expect("a pipeline");
    for force_refresh in [false, true] {
        let before = world.server.all_calls();
        for step in [Step::App, Step::Device, Step::User] {
            world.server.hold(step);
        }
        let executing = tokio::spawn({
            let pipeline = pipeline.clone();
            async move { pipeline.execute(force_refresh).await.expect("a token") }
        });
        // The server answers neither call before both have arrived.
        timeout(LIMIT, world.server.until_held(2)).await.expect("both at once");
        let calls = |before: [usize; 4]| {
            let now = world.server.all_calls();
            [0, 1, 2, 3].map(|step| now[step] - before[step])
        };
        assert_eq!(calls(before), [1, 1, 0, 0], "who needs both waits");
        world.server.release(Step::App);
        world.server.release(Step::Device);
        world.server.release(Step::User);
        let token = executing.await.expect("no panic");
        assert!(world.server.is_valid(Step::User, token.access_token()));
        assert_eq!(calls(before), [1, 1, 1, 0]);
    }
    assert_eq!(world.server.most_at_once(), 2);
}

/// App token → user token → session, and the session wants the app token, too.
async fn a_step_that_two_others_need_is_fetched_once(world: World) {
    let session = world.session().depends_on(["app_token"]).request_headers_with(|context| {
        assert!(context.has_valid_token("app_token"));
        [("Authorization", bearer(context))]
    });
    let pipeline = world
        .pipeline()
        .step(world.app().build().expect("a step"))
        .step(world.user().build().expect("a step"))
        .step(session.build().expect("a step"))
        .build()
        .expect("a pipeline");
    for round in 1..=3 {
        let token = pipeline.execute(round > 1).await.expect("a token");
        assert!(world.server.is_valid(Step::Session, token.access_token()));
        assert_eq!(world.server.all_calls(), [round, 0, round, round]);
    }
}
