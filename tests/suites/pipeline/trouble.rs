//! Callers that go away, and steps that panic, hang or fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_tests::{StatusCode, Step};
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, FetchContext, TokenData, TokenFetchPipeline, TokenFetcher,
    TokenManager, async_trait,
};
use tokio::task::JoinSet;

use crate::world::{PREFIX, World, provider, until};

over_each_storage![
    inv02_a_caller_dropped_in_mid_pipeline_takes_nothing_down,
    inv02_the_only_caller_dropped_in_mid_pipeline_loses_no_call,
    inv03_a_step_that_panics_is_an_error_for_all_who_wait_and_leaves_nothing_behind,
    inv03_a_step_that_hangs_past_its_time_out_is_an_error_and_holds_up_nobody_else,
    inv03_a_step_of_ones_own_that_hangs_is_told_of_its_time_out,
    inv08_everybody_comes_back_when_the_failing_step_does,
    the_step_that_failed_hears_of_it_and_no_other,
];

async fn is_stored(world: &World, step: &str) -> bool {
    world.storage.exists(&format!("{PREFIX}:{step}")).await.expect("a storage")
}

async fn inv02_a_caller_dropped_in_mid_pipeline_takes_nothing_down(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    for step in [Step::App, Step::User, Step::Session] {
        world.server.hold(step);
    }
    // Each of three callers goes away at another step, and a fourth one waits all the time.
    let execute = || {
        let pipeline = pipeline.clone();
        tokio::spawn(async move { pipeline.execute(false).await })
    };
    let mut first = execute();
    let mut patient = None;
    for step in [Step::App, Step::User, Step::Session] {
        until(|| world.server.calls(step) == 1).await;
        first.abort();
        assert!(first.await.expect_err("it was dropped").is_cancelled());
        patient.get_or_insert_with(&execute);
        first = execute();
        world.server.release(step);
    }
    let token = patient.expect("one").await.expect("no panic").expect("a token");
    assert_eq!(first.await.expect("no panic").expect("a token").id(), token.id());
    assert_eq!(world.server.all_calls(), [1, 0, 1, 1]);
}

async fn inv02_the_only_caller_dropped_in_mid_pipeline_loses_no_call(world: World) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let manager = world.manager(provider(&pipeline));
    for step in [Step::App, Step::User, Step::Session] {
        world.server.hold(step);
    }
    for step in [Step::App, Step::User, Step::Session] {
        let caller = tokio::spawn({
            let manager = manager.clone();
            async move { manager.get_token().await }
        });
        until(|| world.server.calls(step) == 1).await;
        caller.abort();
        world.server.release(step);
    }
    manager.get_token().await.expect("a token");
    assert_eq!(world.server.all_calls(), [1, 0, 1, 1]);
}

/// A step that needs the app token, and whose result a test defines.
struct CustomStep {
    name: &'static str,
    calls: AtomicUsize,
    fetch: fn(usize) -> Result<TokenData, AuthenticationError>,
    errors: Mutex<Vec<String>>,
    /// Whether the first call never ends.
    hangs: bool,
}

impl CustomStep {
    fn new(name: &'static str, fetch: fn(usize) -> Result<TokenData, AuthenticationError>) -> Arc<Self> {
        Arc::new(Self { name, calls: AtomicUsize::new(0), fetch, errors: Mutex::default(), hangs: false })
    }

    fn hanging(name: &'static str) -> Arc<Self> {
        let fetch = |_| Ok(TokenData::new("good"));
        Arc::new(Self { name, calls: AtomicUsize::new(0), fetch, errors: Mutex::default(), hangs: true })
    }
}

#[async_trait]
impl TokenFetcher for CustomStep {
    fn name(&self) -> &str {
        self.name
    }

    fn depends_on(&self) -> Vec<&str> {
        vec!["app_token"]
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        assert!(context.has_valid_token("app_token"));
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.hangs && call == 0 {
            std::future::pending::<()>().await;
        }
        // Callers that come during the call join it.
        tokio::time::sleep(Duration::from_millis(50)).await;
        (self.fetch)(call)
    }

    fn on_fetch_error(&self, error: &AuthenticationError, context: &FetchContext) {
        assert!(context.has_token("app_token"));
        self.errors.lock().expect("no panic").push(error.to_string());
    }
}

fn with(world: &World, own: &Arc<CustomStep>) -> TokenFetchPipeline {
    let pipeline = world.pipeline().step(world.app().build().expect("a step"));
    pipeline.steps([Arc::clone(own) as Arc<dyn TokenFetcher>]).build().expect("a pipeline")
}

async fn inv03_a_step_that_panics_is_an_error_for_all_who_wait_and_leaves_nothing_behind(world: World) {
    let own = CustomStep::new("own", |call| {
        assert!(call > 0, "the first call panics on purpose");
        Ok(TokenData::new("good"))
    });
    let pipeline = with(&world, &own);
    // Held, so that all callers join one fetch.
    world.server.hold(Step::App);
    let mut crowd = JoinSet::new();
    for _ in 0..100 {
        let pipeline = pipeline.clone();
        crowd.spawn(async move { pipeline.execute(false).await });
    }
    until(|| world.server.calls(Step::App) == 1).await;
    world.server.release(Step::App);
    for outcome in crowd.join_all().await {
        let error = outcome.expect_err("it panicked");
        assert_eq!(*error.kind(), AuthenticationErrorKind::Panicked);
        assert!(error.to_string().contains("`own`"), "{error}");
    }
    assert!(is_stored(&world, "app_token").await && !is_stored(&world, "own").await);
    assert_eq!(pipeline.execute(false).await.expect("a token").access_token(), "good");
    assert_eq!((own.calls.load(Ordering::SeqCst), world.server.calls(Step::App)), (2, 1));
}

async fn inv03_a_step_that_hangs_past_its_time_out_is_an_error_and_holds_up_nobody_else(world: World) {
    world.server.hold(Step::User);
    let impatient = world.user().timeout(Duration::from_secs(2));
    let pipeline = world
        .pipeline()
        .step(world.app().build().expect("a step"))
        .step(impatient.build().expect("a step"))
        .step(world.session().build().expect("a step"))
        .build()
        .expect("a pipeline");
    let mut waiting = JoinSet::new();
    for _ in 0..100 {
        let pipeline = pipeline.clone();
        waiting.spawn(async move { pipeline.execute(false).await });
    }
    until(|| world.server.calls(Step::User) == 1).await;
    // Another pipeline with the same app token goes on meanwhile.
    let device = world.device().depends_on(["app_token"]).build().expect("a step");
    let other = world.pipeline().step(world.app().build().expect("a step")).step(device);
    other.build().expect("a pipeline").execute(false).await.expect("a token");

    for outcome in waiting.join_all().await {
        let error = outcome.expect_err("it hangs");
        assert!(error.is_timeout() && error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("`user_token`"), "{error}");
    }
    assert_eq!(world.server.all_calls(), [1, 1, 1, 0]);
    assert!(is_stored(&world, "app_token").await && !is_stored(&world, "user_token").await);
    world.server.release(Step::User);
    world.clock.advance(Duration::from_secs(10));
    pipeline.execute(false).await.expect("mended");
    assert_eq!(world.server.all_calls(), [1, 1, 2, 1]);
}

async fn inv03_a_step_of_ones_own_that_hangs_is_told_of_its_time_out(world: World) {
    let own = CustomStep::hanging("own");
    let pipeline = with(&world, &own);
    let error = pipeline.execute(false).await.expect_err("it hangs");
    assert!(error.is_timeout() && error.to_string().contains("`own`"), "{error}");
    assert_eq!(own.errors.lock().expect("no panic").len(), 1, "not only who waited gave up");
    assert!(is_stored(&world, "app_token").await && !is_stored(&world, "own").await);
    world.clock.advance(Duration::from_secs(10));
    pipeline.execute(false).await.expect("a token");
    assert_eq!((own.calls.load(Ordering::SeqCst), world.server.calls(Step::App)), (2, 1));
}

async fn inv08_everybody_comes_back_when_the_failing_step_does(world: World) {
    const RETRY_AFTER: u32 = 7;
    let pipeline = world.three_steps().build().expect("a pipeline");
    // The manager has no storage, because Redis would go by another clock.
    let manager = TokenManager::builder(provider(&pipeline)).clock(world.clock());
    let manager = manager.build().expect("a manager");
    world.server.set_failing(Step::App, Some(StatusCode::SERVICE_UNAVAILABLE));
    for round in 1..=6 {
        // Without a `Retry-After` each step and the manager could begin a cool-down of their own.
        let retry_after = (round <= 3).then_some(RETRY_AFTER);
        world.server.set_retry_after(Step::App, retry_after);
        for _ in 0..10 {
            let error = manager.get_token().await.expect_err("a 503");
            assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
            assert!(error.to_string().contains("`app_token`"), "{error}");
        }
        // Without a `Retry-After` the step repeats its call once.
        let repeated = round.max(3) - 3;
        assert_eq!(world.server.all_calls(), [round + repeated, 0, 0, 0]);
        let cool_down = manager.status().cool_down.expect("a cool-down");
        assert!(round > 3 || cool_down <= Duration::from_secs(RETRY_AFTER.into()), "{cool_down:?}");
        let told = pipeline.execute(false).await.expect_err("it stands back").cool_down();
        assert_eq!(Some(cool_down), told, "in round {round}");
        world.clock.advance(cool_down);
    }
    world.server.set_failing(Step::App, None);
    manager.get_token().await.expect("mended");
    assert_eq!(world.server.all_calls(), [10, 0, 1, 1]);
}

async fn the_step_that_failed_hears_of_it_and_no_other(world: World) {
    let failing = CustomStep::new("failing", |_| {
        Err(AuthenticationError::new("of its own", AuthenticationErrorKind::Other))
    });
    let error = with(&world, &failing).execute(false).await.expect_err("it fails");
    assert!(error.to_string().contains("`failing`"), "{error}");
    assert_eq!(failing.errors.lock().expect("no panic").len(), 1);

    world.storage.delete(&format!("{PREFIX}:app_token")).await.expect("a storage");
    world.server.set_failing(Step::App, Some(StatusCode::BAD_REQUEST));
    let unharmed = CustomStep::new("unharmed", |_| Ok(TokenData::new("good")));
    let error = with(&world, &unharmed).execute(false).await.expect_err("no app token");
    assert!(error.to_string().contains("`app_token`"), "{error}");
    assert!(unharmed.errors.lock().expect("no panic").is_empty());
    assert_eq!(unharmed.calls.load(Ordering::SeqCst), 0);
}
