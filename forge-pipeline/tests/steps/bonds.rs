//! Tokens that die with the tokens that they were obtained with.

use forge_pipeline::SharedSteps;
use forge_storage_memory::InMemoryTokenStorage;

use crate::storage::CountingStorage;
use crate::world::{World, token, until};

#[tokio::test]
async fn by_default_a_token_outlives_those_it_was_obtained_with() {
    let world = World::chain();
    let shared = SharedSteps::new(InMemoryTokenStorage::new());
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    token(&pipeline).await;
    replace_app(&shared, 2).await;
    assert_eq!(token(&pipeline).await, "session-1");
}

/// Another pipeline that shares the step fetches its token this many times: `app-1`, `app-2`, …
async fn replace_app(shared: &SharedSteps, number: usize) {
    let app = World::new().step("app", &[]);
    let pipeline = app.builder().shared_steps(shared).build().unwrap();
    for _ in 0..number {
        pipeline.execute(true).await.unwrap();
    }
    assert_eq!(app.calls(), [number]);
}

#[tokio::test]
async fn a_token_that_dies_with_a_dependency_is_fetched_anew_when_that_was_replaced() {
    let world = World::new().step("app", &[]).dying("user", &["app"]);
    let shared = SharedSteps::new(InMemoryTokenStorage::new());
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    assert_eq!(token(&pipeline).await, "user-1");
    assert_eq!(token(&pipeline).await, "user-1");
    replace_app(&shared, 2).await;
    assert_eq!(token(&pipeline).await, "user-2");
    assert_eq!(world.steps[1].state().seen[1]["app"], "app-2");
    assert_eq!(token(&pipeline).await, "user-2");
    assert_eq!(world.calls(), [1, 2]);
}

#[tokio::test]
async fn a_token_that_dies_with_a_dependency_expires_with_it() {
    let world = World::new().living("app", &[], 100).dying("user", &["app"]);
    let pipeline = world.pipeline();
    let first = pipeline.execute(false).await.unwrap();
    assert_eq!((first.expires_at().unwrap() - first.issued_at().unwrap()).num_seconds(), 100);
    world.pass(80);
    assert_eq!(token(&pipeline).await, "user-2");
    assert_eq!(world.calls(), [2, 2]);
}

#[tokio::test]
async fn a_token_is_as_dead_as_the_one_that_it_depends_on() {
    let world = World::new().step("app", &[]).dying("user", &["app"]).dying("session", &["user"]);
    let storage = InMemoryTokenStorage::new();
    let shared = SharedSteps::new(storage.clone());
    let pipeline = world.builder().shared_steps(&shared).build().unwrap();
    assert_eq!(token(&pipeline).await, "session-1");
    replace_app(&shared, 2).await;
    assert_eq!(token(&pipeline).await, "session-2");
    assert_eq!(world.calls(), [1, 2, 2]);
    // Another process finds all tokens in the storage.
    let restarted = World::new().step("app", &[]).dying("user", &["app"]).dying("session", &["user"]);
    drop(pipeline);
    let pipeline = restarted.builder().storage(storage).build().unwrap();
    assert_eq!(token(&pipeline).await, "session-2");
    assert_eq!(restarted.calls(), [0, 0, 0]);
}

#[tokio::test]
async fn a_step_that_is_refused_with_401_is_not_shown_a_token_that_has_died_instead() {
    let world = World::new().step("app", &[]).dying("user", &["app"]).step("session", &["user"]);
    let shared = SharedSteps::new(InMemoryTokenStorage::new());
    let pipeline = |steps| world.first(steps).builder().shared_steps(&shared).build().unwrap();
    let (app, user, session) = (pipeline(1), pipeline(2), pipeline(3));
    let gate = world.steps[2].hold();
    let call = tokio::spawn(async move { session.execute(false).await });
    until(|| world.calls() == [1, 1, 1]).await;
    // During the fetch of the session with `user-1`, other pipelines renew the user token, and then the app token that
    // it dies with.
    assert_eq!(user.execute(true).await.unwrap().access_token(), "user-2");
    assert_eq!(app.execute(true).await.unwrap().access_token(), "app-3");
    world.steps[2].state().revoked.extend(["user-1", "user-2"].map(str::to_owned));
    gate.add_permits(1);

    assert_eq!(call.await.unwrap().unwrap().access_token(), "session-2");
    let shown = |step: usize| world.steps[step].state().seen.last().cloned().unwrap();
    assert_eq!((&*shown(1)["app"], &*shown(2)["user"]), ("app-3", "user-3"));
    assert_eq!(world.calls(), [3, 3, 2]);
}

#[tokio::test]
async fn a_forced_execution_fetches_dying_steps_once_too() {
    let world = World::new().step("app", &[]).dying("user", &["app"]).dying("session", &["user", "app"]);
    let pipeline = world.pipeline();
    for round in 1..4 {
        assert_eq!(pipeline.execute(true).await.unwrap().access_token(), format!("session-{round}"));
        assert_eq!(world.calls(), [round; 3]);
    }
}

#[tokio::test]
async fn each_step_is_looked_at_once_however_many_die_with_it() {
    const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let world = (1..NAMES.len())
        .fold(World::new().step(NAMES[0], &[]), |world, place| world.dying(NAMES[place], &NAMES[..place]));
    // The managers read this storage at each execution.
    let storage = CountingStorage::without_announcements();
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    token(&pipeline).await;
    assert_eq!(world.calls(), [1; NAMES.len()]);
    storage.reads();
    assert_eq!(token(&pipeline).await, "l-1");
    assert_eq!(storage.reads(), NAMES.len());
}
