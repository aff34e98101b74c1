//! A pipeline fetches only the tokens that are missing.

use std::time::Duration;

use forge_tests::{StatusCode, Step};

use crate::world::{PREFIX, World, provider};

over_each_storage![
    a_final_token_at_hand_fetches_nothing_whatever_became_of_the_steps_before,
    tokens_that_die_with_those_they_were_bought_with_go_when_one_of_them_goes,
    a_missing_step_fetches_only_what_it_needs,
    what_another_process_has_stored_is_not_fetched,
    an_invalidated_step_takes_its_dependants_with_it_and_nothing_else,
    a_forced_execution_fetches_each_step_once,
    a_token_that_was_invalidated_through_its_manager_is_not_handed_out_again,
    a_failing_step_leaves_those_before_it_where_they_are,
];

fn key(step: Step) -> String {
    format!("{PREFIX}:{}", step.name())
}

async fn forget(world: &World, step: Step) {
    world.storage.delete(&key(step)).await.expect("a storage");
}

async fn a_final_token_at_hand_fetches_nothing_whatever_became_of_the_steps_before(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let first = pipeline.execute(false).await.expect("a token");
    forget(&world, Step::App).await;
    forget(&world, Step::User).await;
    assert_eq!(pipeline.execute(false).await.expect("a token").id(), first.id());
    assert_eq!(world.server.all_calls(), [1, 0, 1, 1]);
}

async fn tokens_that_die_with_those_they_were_bought_with_go_when_one_of_them_goes(world: World) {
    let pipeline = world
        .pipeline()
        .step(world.app().build().expect("a step"))
        .step(world.user().dies_with_dependencies().build().expect("a step"))
        .step(world.session().dies_with_dependencies().build().expect("a step"))
        .build()
        .expect("a pipeline");
    for (gone, calls) in
        [(Step::App, [2, 0, 2, 2]), (Step::User, [2, 0, 3, 3]), (Step::Session, [2, 0, 3, 4])]
    {
        pipeline.execute(false).await.expect("a token");
        forget(&world, gone).await;
        for _ in 0..2 {
            let token = pipeline.execute(false).await.expect("a token");
            assert!(world.server.is_valid(Step::Session, token.access_token()));
            assert_eq!(world.server.all_calls(), calls, "without {gone:?}");
        }
    }
}

async fn a_missing_step_fetches_only_what_it_needs(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let first = pipeline.execute(false).await.expect("a token");
    for (gone, calls) in [
        (&[Step::Session][..], [1, 0, 1, 2]),
        (&[Step::Session, Step::User], [1, 0, 2, 3]),
        (&[Step::Session, Step::App], [1, 0, 2, 4]),
        (&[Step::Session, Step::User, Step::App], [2, 0, 3, 5]),
    ] {
        for step in gone {
            forget(&world, *step).await;
        }
        let token = pipeline.execute(false).await.expect("a token");
        assert_ne!(token.id(), first.id());
        assert!(world.server.is_valid(Step::Session, token.access_token()));
        assert_eq!(world.server.all_calls(), calls, "without {gone:?}");
    }
}

/// A new pipeline over the same storage is like another process: it has nothing in memory.
async fn what_another_process_has_stored_is_not_fetched(world: World) {
    let first = world.three_steps().build().expect("a pipeline").execute(false).await.expect("a token");
    for step in [Step::App, Step::User, Step::Session] {
        let stored = world.storage.get(&key(step)).await.expect("a storage").expect("a token");
        assert!(world.server.is_valid(step, stored.access_token()));
    }
    let other = world.three_steps().build().expect("a pipeline");
    assert_eq!(other.execute(false).await.expect("a token").id(), first.id());
    assert_eq!(world.server.all_calls(), [1, 0, 1, 1]);
}

async fn an_invalidated_step_takes_its_dependants_with_it_and_nothing_else(world: World) {
    let pipeline = world
        .pipeline()
        .step(world.device().build().expect("a step"))
        .step(world.app().build().expect("a step"))
        .step(world.user_of_two().build().expect("a step"))
        .step(world.session().build().expect("a step"))
        .build()
        .expect("a pipeline");
    pipeline.execute(false).await.expect("a token");
    let mut expected = [1; 4];
    for (name, again) in [
        ("session", [0, 0, 0, 1]),
        ("user_token", [0, 0, 1, 1]),
        ("app_token", [1, 0, 1, 1]),
        ("device_token", [0, 1, 1, 1]),
    ] {
        pipeline.invalidate_step(name).await.expect("a step");
        for step in Step::ALL {
            let is_there = world.storage.exists(&key(step)).await.expect("a storage");
            assert_eq!(is_there, again[step as usize] == 0, "{step:?} without {name}");
        }
        pipeline.execute(false).await.expect("a token");
        for step in 0..4 {
            expected[step] += again[step];
        }
        assert_eq!(world.server.all_calls(), expected, "without {name}");
    }
    pipeline.invalidate_all().await.expect("a storage");
    pipeline.execute(false).await.expect("a token");
    assert_eq!(world.server.all_calls(), expected.map(|calls| calls + 1));
}

async fn a_forced_execution_fetches_each_step_once(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let mut last = pipeline.execute(true).await.expect("a token");
    for round in 2..5 {
        let token = pipeline.execute(true).await.expect("a token");
        assert_ne!(token.id(), last.id());
        assert_eq!(world.server.all_calls(), [round, 0, round, round]);
        assert_eq!(pipeline.execute(false).await.expect("a token").id(), token.id());
        last = token;
    }
    assert_eq!(world.server.all_calls(), [4, 0, 4, 4]);
}

async fn a_token_that_was_invalidated_through_its_manager_is_not_handed_out_again(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let manager = world.manager(provider(&pipeline));
    let first = manager.get_token().await.expect("a token").id();
    manager.invalidate_token().await.expect("a storage");
    assert_ne!(manager.get_token().await.expect("a token").id(), first);
    assert_eq!(world.server.all_calls(), [2, 0, 2, 2]);

    let from_user = provider(&pipeline).refresh_from_step("user_token").expect("a step");
    let manager = world.manager(from_user);
    let second = manager.get_token().await.expect("a token").id();
    manager.invalidate_token().await.expect("a storage");
    assert_ne!(manager.get_token().await.expect("a token").id(), second);
    assert_eq!(world.server.all_calls(), [2, 0, 3, 3]);
}

async fn a_failing_step_leaves_those_before_it_where_they_are(world: World) {
    world.server.set_failing(Step::Session, Some(StatusCode::SERVICE_UNAVAILABLE));
    let pipeline = world.three_steps().build().expect("a pipeline");
    let error = pipeline.execute(false).await.expect_err("a 503");
    assert!(error.is_transient() && error.to_string().contains("`session`"), "{error}");
    for (step, is_there) in [(Step::App, true), (Step::User, true), (Step::Session, false)] {
        assert_eq!(world.storage.exists(&key(step)).await.expect("a storage"), is_there, "{step:?}");
    }
    world.server.set_failing(Step::Session, None);
    world.clock.advance(Duration::from_secs(10));
    pipeline.execute(false).await.expect("mended");
    assert_eq!(world.server.all_calls(), [1, 0, 1, 3], "the failed call was repeated once");
}
