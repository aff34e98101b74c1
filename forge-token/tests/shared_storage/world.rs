//! A storage whose answers the test chooses, a provider that counts its calls, and a manager between them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    AuthenticationError, CoolDown, CoolDownPolicy, Generation, Generations, LeaseOutcome, LeaseRead,
    ManualClock, MarkTakeover, RefreshMark, StalenessLimits, StorageError, TokenData, TokenId, TokenLease,
    TokenLeases, TokenProvider, TokenStorage, async_trait,
};
use forge_token::{TokenManager, TokenManagerBuilder};

pub(crate) const RECHECK_AFTER: Duration = Duration::from_secs(10);
pub(crate) const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// A storage that gives the answers chosen by the test.
#[derive(Debug)]
pub(crate) struct RemoteStorage(pub(crate) Arc<State>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) token: Mutex<Option<TokenData>>,
    pub(crate) is_down: AtomicBool,
    pub(crate) reads: AtomicUsize,
    pub(crate) generations: Generations,
    /// The outcomes of the next attempts to acquire the lease. The attempts after them get the lease.
    pub(crate) acquired: Mutex<VecDeque<LeaseOutcome>>,
    /// Another process holds the lease and does not release it.
    pub(crate) is_kept: AtomicBool,
    /// A token that another process stores and announces while the manager waits for the lease.
    pub(crate) left_meanwhile: Mutex<Option<TokenData>>,
    /// The same, but the other process does not announce it.
    pub(crate) left_silently: Mutex<Option<TokenData>>,
    /// A token that another process stores right after the manager got the lease.
    pub(crate) left_right_after: Mutex<Option<TokenData>>,
    pub(crate) has_leases: AtomicBool,
    /// Whether a lease reports the record that was stored when the manager got the lease.
    pub(crate) is_told: AtomicBool,
    /// The storage carries out a write, but does not confirm it.
    pub(crate) is_silent: AtomicBool,
    pub(crate) spending: Mutex<RefreshMark>,
    /// The arguments of the requests for a mark.
    pub(crate) takeovers: Mutex<Vec<MarkTakeover>>,
    pub(crate) unspent: AtomicUsize,
    /// A token that another process stores before the manager's write. The storage then refuses that write.
    pub(crate) overtaken_by: Mutex<Option<TokenData>>,
    /// An invalidation came before the next write, so the storage refuses that write.
    pub(crate) is_invalidated: AtomicBool,
    pub(crate) failed: Mutex<Vec<CoolDown>>,
    pub(crate) released: AtomicUsize,
}

impl State {
    pub(crate) fn new() -> Arc<Self> {
        let staleness_limits = StalenessLimits { recheck_after: RECHECK_AFTER, trusted_for: TRUSTED_FOR };
        Arc::new(Self {
            token: Mutex::default(),
            is_down: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            generations: Generations::with_staleness_limits(staleness_limits),
            acquired: Mutex::default(),
            is_kept: AtomicBool::new(false),
            left_meanwhile: Mutex::default(),
            left_silently: Mutex::default(),
            left_right_after: Mutex::default(),
            has_leases: AtomicBool::new(true),
            is_told: AtomicBool::new(false),
            is_silent: AtomicBool::new(false),
            spending: Mutex::new(RefreshMark::Ours),
            takeovers: Mutex::default(),
            unspent: AtomicUsize::new(0),
            overtaken_by: Mutex::default(),
            is_invalidated: AtomicBool::new(false),
            failed: Mutex::default(),
            released: AtomicUsize::new(0),
        })
    }

    pub(crate) fn up(&self) -> Result<(), StorageError> {
        if self.is_down.load(Ordering::SeqCst) {
            Err(StorageError::new("down").with_nothing_sent())
        } else {
            Ok(())
        }
    }

    /// Another process writes without an announcement.
    pub(crate) fn write(&self, token: Option<TokenData>) {
        *self.token.lock().expect("unpoisoned") = token;
    }

    pub(crate) fn put(&self, token: &TokenData) {
        self.write(Some(token.clone()));
        self.generations.bump("key");
    }

    pub(crate) fn stored(&self) -> Option<String> {
        self.token.lock().expect("unpoisoned").as_ref().map(|token| token.access_token().to_owned())
    }
}

#[async_trait]
impl TokenStorage for RemoteStorage {
    async fn get(&self, _key: &str) -> Result<Option<TokenData>, StorageError> {
        self.0.up()?;
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.token.lock().expect("unpoisoned").clone())
    }

    async fn set(&self, _key: &str, token: &TokenData) -> Result<(), StorageError> {
        self.0.up()?;
        self.0.put(token);
        Ok(())
    }

    async fn delete(&self, _key: &str) -> Result<(), StorageError> {
        self.0.up()?;
        self.0.write(None);
        self.0.generations.bump("key");
        Ok(())
    }

    async fn exists(&self, key: &str) -> Result<bool, StorageError> {
        Ok(self.get(key).await?.is_some())
    }

    fn generation(&self, key: &str) -> Option<Generation> {
        Some(self.0.generations.of(key))
    }

    fn leases(&self) -> Option<&dyn TokenLeases> {
        Some(self)
    }
}

impl TokenLeases for RemoteStorage {
    fn lease(&self, _key: &str) -> Box<dyn TokenLease> {
        Box::new(Lease { state: Arc::clone(&self.0), is_held: false })
    }
}

pub(crate) struct Lease {
    pub(crate) state: Arc<State>,
    pub(crate) is_held: bool,
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, policy: CoolDownPolicy) -> Result<LeaseOutcome, StorageError> {
        self.state.up()?;
        if !self.state.has_leases.load(Ordering::SeqCst) {
            return Err(StorageError::new("no leases").with_nothing_sent());
        }
        if self.state.is_kept.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if let Some(token) = self.state.left_meanwhile.lock().expect("unpoisoned").take() {
            self.state.put(&token);
        }
        if let Some(token) = self.state.left_silently.lock().expect("unpoisoned").take() {
            self.state.write(Some(token));
        }
        let mut acquired = self.state.acquired.lock().expect("unpoisoned");
        let answer = loop {
            match acquired.pop_front() {
                Some(LeaseOutcome::CoolingDown(_)) if policy == CoolDownPolicy::Ignore => {}
                Some(answer) => break answer,
                None => break LeaseOutcome::Held { failures: 0 },
            }
        };
        self.is_held = matches!(answer, LeaseOutcome::Held { .. });
        Ok(answer)
    }

    fn take_read(&mut self) -> LeaseRead {
        if !self.state.is_told.load(Ordering::SeqCst) {
            return LeaseRead::NotReported;
        }
        let seen = self.state.token.lock().expect("unpoisoned").clone().into();
        if let Some(token) = self.state.left_right_after.lock().expect("unpoisoned").take() {
            self.state.put(&token);
        }
        seen
    }

    async fn mark_refresh_token(
        &mut self,
        _id: TokenId,
        takeover: MarkTakeover,
    ) -> Result<RefreshMark, StorageError> {
        self.state.up()?;
        assert!(self.is_held, "only who holds the lease asks");
        let spending = *self.state.spending.lock().expect("unpoisoned");
        self.state.takeovers.lock().expect("unpoisoned").push(takeover);
        let is_taken = takeover != MarkTakeover::Never && matches!(spending, RefreshMark::Foreign { .. });
        Ok(if is_taken { RefreshMark::Ours } else { spending })
    }

    async fn clear_mark(&mut self, _id: TokenId) -> Result<(), StorageError> {
        self.state.unspent.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn store(&mut self, token: &TokenData, read: Option<TokenId>) -> Result<bool, StorageError> {
        self.state.up()?;
        if self.state.is_invalidated.swap(false, Ordering::SeqCst) {
            return Ok(false);
        }
        if let Some(newer) = self.state.overtaken_by.lock().expect("unpoisoned").take() {
            self.state.put(&newer);
            return Ok(false);
        }
        let present = self.state.token.lock().expect("unpoisoned").as_ref().map(TokenData::id);
        if !self.is_held && present != read {
            return Ok(false);
        }
        if self.state.is_silent.load(Ordering::SeqCst) {
            self.state.write(Some(token.clone()));
            return Err(StorageError::new("no answer"));
        }
        self.state.put(token);
        Ok(true)
    }

    async fn fail(&mut self, cool_down: &CoolDown) -> Result<(), StorageError> {
        self.state.failed.lock().expect("unpoisoned").push(*cool_down);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.state.released.fetch_add(1, Ordering::SeqCst);
    }
}

/// Fetches `t1`, `t2`, …, and refreshes to `r1`, `r2`, …
#[derive(Default)]
pub(crate) struct NumberingProvider {
    pub(crate) fetches: AtomicUsize,
    pub(crate) refreshes: AtomicUsize,
    /// The access token of the refresh token that the manager sent last.
    pub(crate) refreshed: Mutex<Option<String>>,
    pub(crate) fetch_fails: Mutex<Option<AuthenticationError>>,
    pub(crate) refresh_fails: Mutex<Option<AuthenticationError>>,
    pub(crate) expires_at: Mutex<Option<chrono::DateTime<chrono::Utc>>>,
    pub(crate) hangs: AtomicBool,
    pub(crate) has_no_full_grant: AtomicBool,
}

impl NumberingProvider {
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.fetches.load(Ordering::SeqCst), self.refreshes.load(Ordering::SeqCst))
    }

    pub(crate) fn answer(
        failure: &Mutex<Option<AuthenticationError>>,
        token: String,
    ) -> Result<TokenData, AuthenticationError> {
        match &*failure.lock().expect("unpoisoned") {
            Some(error) => Err(error.clone()),
            None => Ok(TokenData::new(token).with_refresh_token("refresh")),
        }
    }
}

#[async_trait]
impl TokenProvider for NumberingProvider {
    fn service_name(&self) -> &'static str {
        "numbered"
    }

    fn has_full_grant(&self) -> bool {
        !self.has_no_full_grant.load(Ordering::SeqCst)
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let token = Self::answer(&self.fetch_fails, format!("t{number}"))?;
        Ok(match *self.expires_at.lock().expect("unpoisoned") {
            Some(expires_at) => token.with_expires_at(expires_at),
            None => token,
        })
    }

    async fn refresh_token(&self, current: &TokenData) -> Result<TokenData, AuthenticationError> {
        *self.refreshed.lock().expect("unpoisoned") = Some(current.access_token().to_owned());
        let number = self.refreshes.fetch_add(1, Ordering::SeqCst) + 1;
        Self::answer(&self.refresh_fails, format!("r{number}"))
    }
}

/// The mark of another process, of unknown age.
pub(crate) const FOREIGN: RefreshMark = RefreshMark::Foreign { age: None };

pub(crate) struct World {
    pub(crate) remote: Arc<State>,
    pub(crate) provider: Arc<NumberingProvider>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) manager: TokenManager,
}

pub(crate) fn world() -> World {
    world_with(|builder| builder)
}

pub(crate) fn world_with(settings: impl FnOnce(TokenManagerBuilder) -> TokenManagerBuilder) -> World {
    let (remote, provider) = (State::new(), Arc::new(NumberingProvider::default()));
    let clock = Arc::new(ManualClock::new());
    let builder = TokenManager::builder(Arc::clone(&provider)).storage(RemoteStorage(Arc::clone(&remote)));
    let builder = builder.cache_key("key").clock(Arc::clone(&clock) as _);
    World { remote, provider, clock, manager: settings(builder).build().expect("a manager") }
}

impl World {
    pub(crate) async fn token(&self) -> String {
        self.manager.get_token().await.expect("a token").access_token().to_owned()
    }

    pub(crate) fn reads(&self) -> usize {
        self.remote.reads.load(Ordering::SeqCst)
    }

    pub(crate) fn goes_down(&self, is_down: bool) {
        self.remote.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Waits until background tasks have ended.
    pub(crate) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) fn expired(access_token: &str) -> TokenData {
    TokenData::new(access_token)
        .with_refresh_token("refresh")
        .with_expires_at(chrono::Utc::now() - Duration::from_secs(60))
}
