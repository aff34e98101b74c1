//! Fake steps that fail, wait or panic as a test says, and count their calls.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, FetchContext, ManualClock, TokenData, TokenFetcher,
    async_trait,
};
use forge_pipeline::{TokenFetchPipeline, TokenFetchPipelineBuilder};
use http::StatusCode;
use tokio::sync::Semaphore;

/// A step whose tokens are `name-1`, `name-2`, …, each good for an hour.
pub(crate) struct FakeStep {
    name: &'static str,
    depends_on: Vec<&'static str>,
    ttl: Option<Duration>,
    dies: bool,
    clock: Arc<ManualClock>,
    pub(crate) state: Mutex<FakeState>,
    calls: AtomicUsize,
}

#[derive(Default)]
pub(crate) struct FakeState {
    /// The outcomes of the next calls.
    pub(crate) next: Vec<CallOutcome>,
    /// Tokens of other steps that the endpoint rejects.
    pub(crate) revoked: Vec<String>,
    /// The tokens of each call, by their steps.
    pub(crate) seen: Vec<HashMap<String, String>>,
    /// The context of the last call.
    pub(crate) context: Option<FetchContext>,
    /// The errors that `on_fetch_error` received.
    pub(crate) told: Vec<AuthenticationError>,
    pub(crate) refresh_token: Option<String>,
    /// Whether `on_fetch_error` panics.
    pub(crate) panics_when_told: bool,
    /// The time-out of the step. `None`: the default of fetchers.
    pub(crate) timeout: Option<Duration>,
}

pub(crate) enum CallOutcome {
    Error(AuthenticationError),
    Panic,
    /// Waits for a permit, then returns a token.
    Wait(Arc<Semaphore>),
}

impl FakeStep {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn then(&self, outcome: CallOutcome) {
        self.state().next.push(outcome);
    }

    pub(crate) fn fail(&self, kind: AuthenticationErrorKind) {
        self.then(CallOutcome::Error(AuthenticationError::new("", kind)));
    }

    pub(crate) fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.then(CallOutcome::Wait(Arc::clone(&gate)));
        gate
    }
}

#[async_trait]
impl TokenFetcher for FakeStep {
    fn name(&self) -> &str {
        self.name
    }

    fn depends_on(&self) -> Vec<&str> {
        self.depends_on.clone()
    }

    fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    fn timeout(&self) -> Duration {
        self.state().timeout.unwrap_or(Duration::from_secs(30))
    }

    fn dies_with_dependencies(&self) -> bool {
        self.dies
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        for dependency in &self.depends_on {
            assert!(context.has_valid_token(dependency), "{} runs without {dependency}", self.name);
        }
        let shown: HashMap<_, _> = context
            .tokens()
            .map(|(step, token)| (step.to_owned(), token.access_token().to_owned()))
            .collect();
        self.state().seen.push(shown.clone());
        self.state().context = Some(context.clone());
        let next = {
            let mut state = self.state();
            if state.next.is_empty() { None } else { Some(state.next.remove(0)) }
        };
        match next {
            Some(CallOutcome::Error(error)) => return Err(error),
            Some(CallOutcome::Panic) => panic!("on purpose"),
            Some(CallOutcome::Wait(gate)) => gate.acquire().await.expect("it stays open").forget(),
            // Other tasks run in between.
            None => tokio::task::yield_now().await,
        }
        if shown.values().any(|token| self.state().revoked.contains(token)) {
            return Err(unauthorized());
        }
        let now = self.clock.now().wall();
        let token = TokenData::new(format!("{}-{number}", self.name)).with_issued_at(now);
        let token = token.with_expires_at(now + Duration::from_secs(3600));
        let refresh_token = self.state().refresh_token.clone();
        Ok(match refresh_token {
            Some(refresh_token) => token.with_refresh_token(refresh_token),
            None => token,
        })
    }

    fn on_fetch_error(&self, error: &AuthenticationError, _: &FetchContext) {
        let panics = {
            let mut state = self.state();
            state.told.push(error.clone());
            state.panics_when_told
        };
        assert!(!panics, "on purpose");
    }
}

pub(crate) fn unauthorized() -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Status).with_status(StatusCode::UNAUTHORIZED)
}

/// A clock, and steps whose tokens expire by it.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) steps: Vec<Arc<FakeStep>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { clock: Arc::new(ManualClock::new()), steps: Vec::new() }
    }

    /// `app` → `user` → `session`.
    pub(crate) fn chain() -> Self {
        Self::new().step("app", &[]).step("user", &["app"]).step("session", &["user"])
    }

    pub(crate) fn step(self, name: &'static str, depends_on: &[&'static str]) -> Self {
        self.step_with(name, depends_on, |_| ())
    }

    pub(crate) fn dying(self, name: &'static str, depends_on: &[&'static str]) -> Self {
        self.step_with(name, depends_on, |fake| fake.dies = true)
    }

    pub(crate) fn living(self, name: &'static str, depends_on: &[&'static str], seconds: u64) -> Self {
        self.step_with(name, depends_on, |fake| fake.ttl = Some(Duration::from_secs(seconds)))
    }

    fn step_with(
        mut self,
        name: &'static str,
        depends_on: &[&'static str],
        change: impl FnOnce(&mut FakeStep),
    ) -> Self {
        let mut fake = FakeStep {
            name,
            depends_on: depends_on.to_vec(),
            ttl: None,
            dies: false,
            clock: Arc::clone(&self.clock),
            state: Mutex::default(),
            calls: AtomicUsize::new(0),
        };
        change(&mut fake);
        self.steps.push(Arc::new(fake));
        self
    }

    /// The same clock and the first of these steps, for a second pipeline with the same steps.
    pub(crate) fn first(&self, steps: usize) -> Self {
        Self { clock: Arc::clone(&self.clock), steps: self.steps[..steps].to_vec() }
    }

    pub(crate) fn builder(&self) -> TokenFetchPipelineBuilder {
        let builder =
            TokenFetchPipeline::builder().cache_key_prefix("api").clock(Arc::clone(&self.clock) as _);
        builder.steps(self.steps.iter().map(Arc::clone))
    }

    pub(crate) fn pipeline(&self) -> TokenFetchPipeline {
        self.builder().build().expect("a pipeline")
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        self.steps.iter().map(|step| step.calls()).collect()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Executes the pipeline, and returns the token of the last step.
pub(crate) async fn token(pipeline: &TokenFetchPipeline) -> String {
    pipeline.execute(false).await.expect("a token").access_token().to_owned()
}

/// Lets other tasks run until the condition holds.
pub(crate) async fn until(it_is_so: impl Fn() -> bool) {
    for _ in 0..100_000 {
        if it_is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never is");
}
