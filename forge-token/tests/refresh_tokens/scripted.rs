//! An issuer that does in each call what the test has written for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{AuthenticationError, Clock, ManualClock, TokenData, TokenProvider, async_trait};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::{TokenManager, TokenManagerBuilder};

pub(crate) enum Step {
    Err(AuthenticationError),
    Hang,
    /// Ok after a second.
    Slow,
    /// Err after a second.
    SlowErr(AuthenticationError),
    /// An access token that no header can carry.
    Bad,
}

pub(crate) struct ScriptedProvider {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) full: bool,
    pub(crate) rotates: bool,
    pub(crate) issued: AtomicUsize,
    pub(crate) fetches: Mutex<VecDeque<Step>>,
    pub(crate) refreshes: Mutex<VecDeque<Step>>,
    pub(crate) fetched: AtomicUsize,
    pub(crate) sent: Mutex<Vec<String>>,
}

impl ScriptedProvider {
    pub(crate) fn new(full: bool, rotates: bool) -> Arc<Self> {
        Arc::new(Self {
            clock: Arc::new(ManualClock::new()),
            full,
            rotates,
            issued: AtomicUsize::new(0),
            fetches: Mutex::default(),
            refreshes: Mutex::default(),
            fetched: AtomicUsize::new(0),
            sent: Mutex::default(),
        })
    }

    pub(crate) fn fetch(&self, steps: impl IntoIterator<Item = Step>) {
        self.fetches.lock().expect("as scripted").extend(steps);
    }

    pub(crate) fn refresh(&self, steps: impl IntoIterator<Item = Step>) {
        self.refreshes.lock().expect("as scripted").extend(steps);
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().expect("as scripted").clone()
    }

    pub(crate) fn fetched(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    pub(crate) fn manager(self: &Arc<Self>) -> TokenManagerBuilder {
        TokenManager::builder(Arc::clone(self)).cache_key("key").clock(Arc::clone(&self.clock) as _)
    }

    pub(crate) fn storage(&self) -> InMemoryTokenStorage {
        InMemoryTokenStorage::builder().clock(Arc::clone(&self.clock) as _).build()
    }

    pub(crate) async fn run(
        &self,
        step: Option<Step>,
        refresh: Option<&str>,
    ) -> Result<TokenData, AuthenticationError> {
        let mut bad = false;
        match step {
            None => {}
            Some(Step::Err(error)) => return Err(error),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Slow) => tokio::time::sleep(Duration::from_secs(1)).await,
            Some(Step::SlowErr(error)) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
                return Err(error);
            }
            Some(Step::Bad) => bad = true,
        }
        let number = self.issued.fetch_add(1, Ordering::SeqCst) + 1;
        let now = self.clock.now().wall();
        let token = if bad { format!("t\n{number}") } else { format!("t{number}") };
        let token =
            TokenData::new(token).with_issued_at(now).with_expires_at(now + Duration::from_secs(3600));
        Ok(match refresh {
            Some(refresh) if !self.rotates => token.with_refresh_token(refresh),
            _ => token.with_refresh_token(format!("r{number}")),
        })
    }
}

#[async_trait]
impl TokenProvider for ScriptedProvider {
    fn service_name(&self) -> &'static str {
        "scripted"
    }

    fn has_full_grant(&self) -> bool {
        self.full
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        let step = self.fetches.lock().expect("as scripted").pop_front();
        self.run(step, None).await
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let refresh = current.refresh_token().expect("as scripted").to_owned();
        self.sent.lock().expect("as scripted").push(refresh.clone());
        let step = self.refreshes.lock().expect("as scripted").pop_front();
        self.run(step, Some(&refresh)).await
    }
}
