//! Steps that record their calls, and check the tokens that they receive.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, FetchContext, ManualClock, OAuthErrorCode,
    TokenData, TokenFetcher, async_trait,
};

/// The properties of a step. Its number is its index in the list.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) needs: Vec<usize>,
    pub(crate) life: u64,
    pub(crate) dies: bool,
    /// How often a call yields to other tasks.
    pub(crate) slowness: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Transient,
    Permanent,
}

/// A token that a step has returned.
#[derive(Clone, Debug)]
pub(crate) struct MintedToken {
    pub(crate) value: String,
    /// The time of the fetch, in seconds of the wall clock.
    pub(crate) at: i64,
    pub(crate) with: BTreeMap<usize, String>,
}

pub(crate) struct Step {
    number: usize,
    name: String,
    plan: Plan,
    needs: Vec<String>,
    shared: Arc<SharedState>,
}

pub(crate) struct SharedState {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) busy: AtomicUsize,
    pub(crate) records: Mutex<Vec<StepRecord>>,
}

#[derive(Default)]
pub(crate) struct StepRecord {
    pub(crate) calls: usize,
    pub(crate) minted: Option<MintedToken>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) complaints: Vec<String>,
}

pub(crate) fn name(step: usize) -> String {
    format!("s{step}")
}

impl SharedState {
    pub(crate) fn new(steps: usize) -> Arc<Self> {
        let records = (0..steps).map(|_| StepRecord::default()).collect();
        let clock = Arc::new(ManualClock::new());
        Arc::new(Self { clock, busy: AtomicUsize::new(0), records: Mutex::new(records) })
    }

    pub(crate) fn records(&self) -> std::sync::MutexGuard<'_, Vec<StepRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> i64 {
        self.clock.now().wall_millis() / 1_000
    }

    /// Waits until no step is in a call.
    pub(crate) async fn settle(&self) {
        let mut quiet = 0;
        while quiet < 64 {
            tokio::task::yield_now().await;
            quiet = if self.busy.load(Ordering::Relaxed) == 0 { quiet + 1 } else { 0 };
        }
    }
}

impl Step {
    pub(crate) fn new(number: usize, plan: &Plan, shared: &Arc<SharedState>) -> Arc<Self> {
        let needs = plan.needs.iter().map(|step| name(*step)).collect();
        Arc::new(Self { number, name: name(number), plan: plan.clone(), needs, shared: Arc::clone(shared) })
    }

    fn check(&self, context: &FetchContext) {
        let given: Vec<_> = context.tokens().map(|(step, _)| step.to_owned()).collect();
        let mut expected = self.needs.clone();
        expected.sort();
        expected.dedup();
        let mut records = self.shared.records();
        let mut wrong = Vec::new();
        if given != expected {
            wrong.push(format!("{} was given {given:?}", self.name));
        }
        for need in &self.plan.needs {
            let current = records[*need].minted.as_ref().map(|minted| minted.value.clone());
            let given = context.get_token(&name(*need)).map(|token| token.access_token().to_owned());
            if given != current || !context.has_valid_token(&name(*need)) {
                wrong.push(format!(
                    "{} was given {given:?} of {}, there is {current:?}",
                    self.name,
                    name(*need)
                ));
            }
        }
        records[self.number].complaints.extend(wrong);
    }
}

#[async_trait]
impl TokenFetcher for Step {
    fn name(&self) -> &str {
        &self.name
    }

    fn depends_on(&self) -> Vec<&str> {
        self.needs.iter().map(String::as_str).collect()
    }

    fn ttl(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.plan.life))
    }

    fn dies_with_dependencies(&self) -> bool {
        self.plan.dies
    }

    async fn fetch(&self, context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        self.shared.busy.fetch_add(1, Ordering::Relaxed);
        self.check(context);
        for _ in 0..self.plan.slowness {
            tokio::task::yield_now().await;
        }
        let mut records = self.shared.records();
        let record = &mut records[self.number];
        record.calls += 1;
        self.shared.busy.fetch_sub(1, Ordering::Relaxed);
        match record.trouble.take() {
            Some(Trouble::Transient) => Err(AuthenticationError::new("", AuthenticationErrorKind::Connect)),
            Some(Trouble::Permanent) => {
                let kind = AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidClient);
                Err(AuthenticationError::new("", kind))
            }
            None => {
                let value = format!("{}-{}", self.name, record.calls);
                let with =
                    |step: &usize| Some((*step, context.get_token(&name(*step))?.access_token().to_owned()));
                let with = self.plan.needs.iter().filter_map(with).collect();
                record.minted = Some(MintedToken { value: value.clone(), at: self.shared.now(), with });
                Ok(TokenData::new(value))
            }
        }
    }
}
