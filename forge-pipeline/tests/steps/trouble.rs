//! Callers that go away, and steps that panic or hang.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, FetchContext, TokenData, TokenFetcher, TokenStorage,
    async_trait,
};
use forge_pipeline::{PipelineTokenProvider, SharedSteps, TokenFetchPipeline};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;

use crate::world::{CallOutcome, World, token, until};

#[tokio::test]
async fn inv02_a_caller_that_goes_away_in_mid_pipeline_takes_nothing_down() {
    let world = World::chain();
    let pipeline = world.pipeline();
    let gate = world.steps[1].hold();
    let dropped = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { token(&pipeline).await }
    });
    until(|| world.calls() == [1, 1, 0]).await;
    let stays = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { token(&pipeline).await }
    });
    tokio::task::yield_now().await;
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    gate.add_permits(1);
    assert_eq!(stays.await.unwrap(), "session-1");
    assert_eq!(world.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn inv02_what_a_caller_that_went_away_had_begun_is_there_for_the_next() {
    let world = World::chain();
    let pipeline = world.pipeline();
    let gate = world.steps[1].hold();
    let dropped = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { token(&pipeline).await }
    });
    until(|| world.calls()[1] > 0).await;
    dropped.abort();
    gate.add_permits(1);
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!(world.calls(), [1, 1, 1]);
}

#[tokio::test]
async fn inv03_a_step_that_panics_is_an_error_that_names_it_and_the_next_caller_starts_there() {
    let world = World::chain();
    let storage = InMemoryTokenStorage::new();
    let pipeline = world.builder().storage(storage.clone()).build().unwrap();
    world.steps[1].then(CallOutcome::Panic);
    let (one, two) = tokio::join!(pipeline.execute(false), pipeline.execute(false));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!((error.kind(), error.step()), (&AuthenticationErrorKind::Panicked, Some("user")));
        assert!(!format!("{error:?}").contains("on purpose"));
    }
    assert_eq!(world.steps[1].state().told.len(), 1);
    assert!(storage.exists("api:app").await.unwrap() && !storage.exists("api:user").await.unwrap());
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!(world.calls(), [1, 2, 1]);
}

#[tokio::test]
async fn inv03_a_step_that_panics_when_it_is_told_of_its_failure_hides_nothing_of_that() {
    let world = World::chain();
    let pipeline = world.pipeline();
    world.steps[1].state().panics_when_told = true;
    world.steps[1].fail(AuthenticationErrorKind::Connect);
    for _ in 0..3 {
        let error = pipeline.execute(false).await.unwrap_err();
        assert_eq!((error.kind(), error.step()), (&AuthenticationErrorKind::Connect, Some("user")));
    }
    assert_eq!((world.calls(), world.steps[1].state().told.len()), (vec![1, 1, 0], 1));
    world.pass(2);
    assert_eq!(token(&pipeline).await, "session-1");
}

#[tokio::test(start_paused = true)]
async fn inv03_a_step_that_hangs_ends_with_its_time_out() {
    let world = World::chain();
    let pipeline = world.pipeline();
    let _gate = world.steps[1].hold();
    let (one, two) = tokio::join!(pipeline.execute(false), pipeline.execute(false));
    for error in [one.unwrap_err(), two.unwrap_err()] {
        assert_eq!((error.is_timeout(), error.step()), (true, Some("user")));
    }
    assert_eq!(world.steps[1].state().told.len(), 1);
    world.pass(2);
    assert_eq!(token(&pipeline).await, "session-1");
    assert_eq!(world.calls(), [1, 2, 1]);
}

/// Makes all calls of these steps together take this long, each an equal part.
fn slow(world: &World, altogether: Duration) {
    for (place, step) in (1_u32..).zip(&world.steps) {
        let gate = step.hold();
        let steps = u32::try_from(world.steps.len()).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(altogether * place / steps).await;
            gate.add_permits(1);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_built_anew_takes_as_long_as_its_new_time_out_allows() {
    let shared = SharedSteps::new(InMemoryTokenStorage::new());
    let (old, new) = (World::chain(), World::chain());
    for (world, seconds) in [(&old, 1), (&new, 100)] {
        for step in &world.steps {
            step.state().timeout = Some(Duration::from_secs(seconds));
        }
    }
    let _old = old.builder().shared_steps(&shared).build().unwrap();
    let pipeline = new.builder().shared_steps(&shared).build().unwrap();
    slow(&new, Duration::from_secs(270));
    assert_eq!(token(&pipeline).await, "session-1");
}

#[tokio::test(start_paused = true)]
async fn a_manager_waits_as_long_as_the_steps_may_take_and_hears_which_of_them_hangs() {
    let world = World::chain();
    let manager = TokenManager::new(PipelineTokenProvider::new(world.pipeline(), "service"));
    slow(&world, Duration::from_secs(87));
    assert_eq!(manager.get_token().await.unwrap().access_token(), "session-1");

    let world = World::chain();
    let manager = TokenManager::new(PipelineTokenProvider::new(world.pipeline(), "service"));
    let _gate = world.steps[0].hold();
    let error = manager.get_token().await.unwrap_err();
    assert_eq!((error.is_timeout(), error.step(), error.service_name()), (true, Some("app"), "api"));
    assert_eq!(world.steps[0].state().told.len(), 1);
}

struct NoToken(&'static str);

#[async_trait]
impl TokenFetcher for NoToken {
    fn name(&self) -> &'static str {
        "app"
    }

    async fn fetch(&self, _context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        Ok(TokenData::new(self.0))
    }
}

#[tokio::test]
async fn inv15_a_token_that_no_header_can_carry_is_an_error_of_its_step_and_goes_into_no_other() {
    for text in ["", " ", "caf\u{e9}"] {
        let world = World::new().step("user", &["app"]);
        let user = Arc::clone(&world.steps[0]);
        let pipeline = TokenFetchPipeline::builder().step(NoToken(text)).step(user).build().unwrap();
        let error = pipeline.execute(false).await.unwrap_err();
        assert_eq!((error.kind(), error.step()), (&AuthenticationErrorKind::InvalidResponse, Some("app")));
        assert_eq!(world.calls(), [0]);
    }
}
