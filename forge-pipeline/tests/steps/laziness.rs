//! A pipeline fetches the tokens that are missing, and no others.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationErrorKind, CachingProvider, Clock, ManualClock, OAuthErrorCode, TokenStorage,
};
use forge_pipeline::{PipelineTokenProvider, SharedSteps, TokenFetchPipeline};
use forge_storage_memory::InMemoryTokenStorage;
use futures_util::future::join_all;

use crate::storage::CountingStorage;
use crate::world::{World, token, until};

fn storage(clock: &Arc<ManualClock>) -> InMemoryTokenStorage {
    InMemoryTokenStorage::builder().clock(Arc::clone(clock) as _).build()
}

#[tokio::test]
async fn each_step_gets_the_tokens_that_it_depends_on_and_no_others() {
    let world = World::chain();
    assert_eq!(token(&world.pipeline()).await, "session-1");
    let seen: Vec<_> = world.steps.iter().map(|step| step.state().seen.clone()).collect();
    assert!(seen[0][0].is_empty());
    assert_eq!(seen[1][0], [("app".to_owned(), "app-1".to_owned())].into());
    assert_eq!(seen[2][0], [("user".to_owned(), "user-1".to_owned())].into());
}

#[tokio::test]
async fn a_valid_final_token_fetches_nothing_even_if_earlier_ones_have_expired() {
    let world = World::new().living("app", &[], 60).living("user", &["app"], 600);
    let pipeline = world.pipeline();
    token(&pipeline).await;
    world.pass(120);
    assert_eq!(token(&pipeline).await, "user-1");
    assert_eq!(world.calls(), [1, 1]);
    // Now both are missing.
    world.pass(600);
    assert_eq!(token(&pipeline).await, "user-2");
    assert_eq!(world.calls(), [2, 2]);
}

#[tokio::test]
async fn inv19_a_hit_asks_no_storage_that_announces_changes() {
    let world = World::new().step("app", &[]).dying("user", &["app"]).dying("session", &["user"]);
    let storage = CountingStorage::new();
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    token(&pipeline).await;
    assert!(storage.reads() > 0);
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!(storage.reads(), 0);
}

#[tokio::test]
async fn a_missing_final_token_fetches_only_what_it_needs() {
    let world = World::new().living("app", &[], 6_000).living("user", &["app"], 600);
    let pipeline = world.pipeline();
    token(&pipeline).await;
    world.pass(600);
    assert_eq!(token(&pipeline).await, "user-2");
    assert_eq!(world.calls(), [1, 2]);
}

#[tokio::test]
async fn a_step_is_renewed_when_it_is_needed_and_not_ahead() {
    let world = World::chain();
    let pipeline = world.pipeline();
    token(&pipeline).await;
    world.pass(3_560);
    assert_eq!(token(&pipeline).await, "session-1");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn the_ttl_of_a_step_wins_over_what_its_token_says() {
    let world = World::new().living("app", &[], 60);
    let token = world.pipeline().execute(false).await.unwrap();
    assert_eq!((token.expires_at().unwrap() - token.issued_at().unwrap()).num_seconds(), 60);
}

#[tokio::test]
async fn the_ttl_of_a_step_counts_from_when_it_is_called_not_from_when_it_answers() {
    let world = World::new().living("app", &[], 100);
    let pipeline = world.pipeline();
    let begun = world.clock.now().wall();
    let gate = world.steps[0].hold();
    let slow = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.execute(false).await.unwrap() }
    });
    until(|| world.calls() == [1]).await;
    world.pass(40);
    gate.add_permits(1);
    let slow = slow.await.unwrap();
    let counted_from_then = (Some(begun), Some(begun + Duration::from_secs(100)));
    assert_eq!((slow.issued_at(), slow.expires_at()), counted_from_then);
    // A pipeline uses a token until half a minute before its expiry.
    world.pass(29);
    assert_eq!(token(&pipeline).await, "app-1");
    world.pass(1);
    assert_eq!(token(&pipeline).await, "app-2");
}

#[tokio::test]
async fn inv01_a_thousand_callers_of_a_cold_pipeline_cause_one_call_per_step() {
    for with_storage in [false, true] {
        let world = World::chain();
        let mut builder = world.builder();
        if with_storage {
            builder = builder.storage(storage(&world.clock));
        }
        let pipeline = builder.build().unwrap();
        let tokens = join_all((0..1_000).map(|_| token(&pipeline))).await;
        assert!(tokens.iter().all(|token| token == "session-1"));
        assert_eq!(world.calls(), [1, 1, 1]);
    }
}

#[tokio::test]
async fn steps_that_do_not_need_each_other_are_fetched_at_the_same_time() {
    let world = World::new().step("a", &[]).step("b", &[]).step("c", &["a", "b"]);
    let gates = [world.steps[0].hold(), world.steps[1].hold()];
    let pipeline = world.pipeline();
    let call = tokio::spawn(async move { token(&pipeline).await });
    until(|| world.calls() == [1, 1, 0]).await;
    for gate in gates {
        gate.add_permits(1);
    }
    assert_eq!(call.await.unwrap(), "c-1");
}

#[tokio::test]
async fn a_forced_execution_fetches_every_step_once_also_where_several_need_it() {
    let world = World::new().step("a", &[]).step("b", &["a"]).step("c", &["a"]).step("d", &["b", "a", "c"]);
    let pipeline = world.pipeline();
    for round in 1..4 {
        let token = pipeline.execute(true).await.unwrap();
        assert_eq!(token.access_token(), format!("d-{round}"));
        assert_eq!(world.calls(), [round; 4]);
        let last = world.steps[3].state().seen.last().cloned().unwrap();
        assert_eq!(last["a"], format!("a-{round}"));
    }
}

#[tokio::test]
async fn a_forced_execution_is_not_content_with_what_others_buy_with_the_old_tokens() {
    let world = World::chain();
    let pipeline = world.pipeline();
    token(&pipeline).await;
    pipeline.invalidate_step("user").await.unwrap();
    let gate = world.steps[1].hold();
    let execute = |anew| {
        let pipeline = pipeline.clone();
        tokio::spawn(async move { pipeline.execute(anew).await.unwrap().access_token().to_owned() })
    };
    let lazily = execute(false);
    until(|| world.calls() == [1, 2, 1]).await;
    // The two forced executions join each other's fetches.
    let anew = [execute(true), execute(true)];
    until(|| world.calls() == [2, 2, 1]).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    let anew = join_all(anew).await;
    assert_eq!(world.calls()[..2], [2, 3]);
    let last = |step: usize| world.steps[step].state().seen.last().cloned().unwrap();
    assert_eq!((&*last(1)["app"], &*last(2)["user"]), ("app-2", "user-3"));
    let newest = token(&pipeline).await;
    assert!(anew.into_iter().all(|token| token.unwrap() == newest));
    lazily.await.unwrap();
}

#[tokio::test]
async fn nobody_builds_on_what_an_invalidation_is_about_to_drop() {
    let world = World::chain();
    let pipeline = world.builder().storage(CountingStorage::new()).build().unwrap();
    token(&pipeline).await;
    let is_over = Cell::new(false);
    let invalidation = async {
        pipeline.invalidate_step("app").await.unwrap();
        is_over.set(true);
    };
    let meanwhile = async {
        while !is_over.get() {
            token(&pipeline).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(invalidation, meanwhile);
    token(&pipeline).await;
    assert_built_on(&world, "app-2");
}

/// Every fetch after the first one used this app token, and no session was bought with the first user token.
fn assert_built_on(world: &World, app: &str) {
    let seen = world.steps[1].state().seen.clone();
    assert!(seen.len() > 1 && seen[1..].iter().all(|seen| seen["app"] == app), "{seen:?}");
    let seen = world.steps[2].state().seen.clone();
    assert!(seen.len() > 1 && seen[1..].iter().all(|seen| seen["user"] != "user-1"), "{seen:?}");
}

#[tokio::test]
async fn an_invalidation_that_the_storage_did_not_hear_of_says_so() {
    let world = World::chain();
    let storage = CountingStorage::new();
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    token(&pipeline).await;
    storage.refuse_to_delete();
    let error = pipeline.invalidate_step("user").await.unwrap_err();
    assert_eq!((error.kind(), error.step()), (&AuthenticationErrorKind::Storage, Some("user")));
    let provider = PipelineTokenProvider::new(pipeline, "service");
    assert_eq!(provider.forget_token().await.unwrap_err().step(), Some("app"));
}

#[tokio::test]
async fn invalidating_a_step_drops_it_and_its_dependants_only() {
    let world = World::new().step("a", &[]).step("b", &[]).step("c", &["a"]).step("d", &["b", "c"]);
    let storage = storage(&world.clock);
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    token(&pipeline).await;
    pipeline.invalidate_step("a").await.unwrap();
    let mut left = Vec::new();
    for step in ["a", "b", "c", "d"] {
        left.push(storage.exists(&format!("api:{step}")).await.unwrap());
    }
    assert_eq!(left, [false, true, false, false]);
    assert_eq!(token(&pipeline).await, "d-2");
    assert_eq!(world.calls(), [2, 1, 2, 2]);
    pipeline.invalidate_all().await.unwrap();
    token(&pipeline).await;
    assert_eq!(world.calls(), [3, 2, 3, 3]);

    let error = pipeline.invalidate_step("x").await.unwrap_err();
    assert!(error.to_string().ends_with("there is no step `x`; the steps are `a`, `b`, `c`, `d`"), "{error}");
}

#[tokio::test]
async fn inv01_two_pipelines_that_share_a_step_and_a_storage_fetch_it_once() {
    let world = World::chain();
    let other = World::new().step("app", &[]).step("tenant", &["app"]);
    let shared = SharedSteps::new(storage(&world.clock));
    let one = world.builder().shared_steps(&shared).build().unwrap();
    let two = other.builder().shared_steps(&shared).build().unwrap();
    let apart = other.builder().shared_steps(&shared).cache_key_prefix("another").build().unwrap();
    let gate = other.steps[0].hold();
    let calls = tokio::spawn(async move { tokio::join!(token(&one), token(&two)) });
    until(|| other.calls()[0] > 0).await;
    // Both pipelines reach the step.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1);
    assert_eq!(calls.await.unwrap(), ("session-1".to_owned(), "tenant-1".to_owned()));
    assert_eq!((world.calls(), other.calls()), (vec![0, 1, 1], vec![1, 1]));
    // A step with another prefix is another step.
    assert_eq!(token(&apart).await, "tenant-2");
    assert_eq!(other.calls(), [2, 2]);
}

#[tokio::test]
async fn a_step_that_nobody_has_any_more_is_not_remembered() {
    let storage = InMemoryTokenStorage::new();
    let shared = SharedSteps::new(storage.clone());
    for _ in 0..3 {
        let world = World::new().step("app", &[]);
        let pipeline = world.builder().shared_steps(&shared).build().unwrap();
        storage.clear();
        assert_eq!(token(&pipeline).await, "app-1");
        assert_eq!(world.calls(), [1]);
    }
}

#[tokio::test]
async fn inv08_a_pipeline_that_is_built_anew_fetches_by_its_own_steps_at_once() {
    let (world, anew) = (World::chain(), World::chain());
    let shared = SharedSteps::new(storage(&world.clock));
    let old = world.builder().shared_steps(&shared).build().unwrap();
    let wrong = || AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidClient);
    world.steps[0].fail(wrong());
    assert!(old.execute(false).await.unwrap_err().is_permanent());
    old.execute(false).await.unwrap_err();
    assert_eq!(world.calls(), [1, 0, 0]);
    let new = anew.builder().shared_steps(&shared).build().unwrap();
    assert_eq!(token(&new).await, "session-1");
    assert_eq!((world.calls(), anew.calls()), (vec![1, 0, 0], vec![1, 1, 1]));
    assert_eq!(token(&old).await, "session-1");
}

#[tokio::test]
async fn a_refresh_token_is_for_who_gets_the_token_and_for_later_steps() {
    let world = World::chain();
    for step in &world.steps {
        step.state().refresh_token = Some("r".to_owned());
    }
    let storage = storage(&world.clock);
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    let token = pipeline.execute(false).await.unwrap();
    assert_eq!((token.refresh_token(), token.extra().len()), (Some("r"), 0));
    let context = world.steps[2].state().context.clone().unwrap();
    let user = context.get_token("user").unwrap();
    assert_eq!((user.refresh_token(), user.extra().len()), (Some("r"), 0));
    // The field for refresh tokens is empty, so that no manager sends one.
    let stored = storage.get("api:session").await.unwrap().unwrap();
    assert!(stored.refresh_token().is_none());
    // The manager calls a failing step once. With a refresh token it would call it again without the token.
    world.pass(3_600);
    world.steps[2].fail(AuthenticationErrorKind::InvalidResponse);
    pipeline.execute(false).await.unwrap_err();
    assert_eq!(world.calls(), [2, 2, 2]);
}

#[tokio::test]
async fn what_a_pipeline_says_of_itself() {
    let world = World::chain();
    let pipeline: TokenFetchPipeline = world.pipeline();
    assert_eq!(pipeline.step_names(), ["app", "user", "session"]);
    assert_eq!(pipeline.get_step("user").unwrap().depends_on(), ["app"]);
    assert!(pipeline.get_step("x").is_none());
    assert!(format!("{pipeline:?}").contains("session"));
}
