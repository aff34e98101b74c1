//! The manager over a storage that others share, which may be out of reach, in time that moves when it is
//! told to. Redis itself is in the integration suites; here each answer is chosen.

#![allow(clippy::expect_used, missing_docs)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    Acquired, AuthenticationError, AuthenticationErrorKind, CoolDown, Freshness, Generation, Generations,
    ManualClock, Spending, StorageError, TokenData, TokenId, TokenLease, TokenLeases, TokenProvider,
    TokenStorage, async_trait,
};
use forge_token::{TokenManager, TokenManagerBuilder};
use http::StatusCode;

const RECHECK_AFTER: Duration = Duration::from_secs(10);
const TRUSTED_FOR: Duration = Duration::from_secs(60);

/// A storage that says what it is told to say.
#[derive(Debug)]
struct Remote(Arc<State>);

#[derive(Debug)]
struct State {
    token: Mutex<Option<TokenData>>,
    is_down: AtomicBool,
    reads: AtomicUsize,
    generations: Generations,
    /// Before the lease is given.
    acquired: Mutex<VecDeque<Acquired>>,
    /// What waiting brings, besides an answer.
    left_meanwhile: Mutex<Option<TokenData>>,
    has_leases: AtomicBool,
    /// Does what it is asked, and does not say so.
    is_silent: AtomicBool,
    spending: Mutex<Spending>,
    unspent: AtomicUsize,
    /// Somebody else's token is there when ours is to be stored.
    overtaken_by: Mutex<Option<TokenData>>,
    /// What was begun before an invalidation is not stored after it.
    is_invalidated: AtomicBool,
    failed: Mutex<Vec<CoolDown>>,
    released: AtomicUsize,
}

impl State {
    fn new() -> Arc<Self> {
        let freshness = Freshness { recheck_after: RECHECK_AFTER, trusted_for: TRUSTED_FOR };
        Arc::new(Self {
            token: Mutex::default(),
            is_down: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            generations: Generations::with_freshness(freshness),
            acquired: Mutex::default(),
            left_meanwhile: Mutex::default(),
            has_leases: AtomicBool::new(true),
            is_silent: AtomicBool::new(false),
            spending: Mutex::new(Spending::Ours),
            unspent: AtomicUsize::new(0),
            overtaken_by: Mutex::default(),
            is_invalidated: AtomicBool::new(false),
            failed: Mutex::default(),
            released: AtomicUsize::new(0),
        })
    }

    fn up(&self) -> Result<(), StorageError> {
        if self.is_down.load(Ordering::SeqCst) {
            Err(StorageError::new("down").with_nothing_sent())
        } else {
            Ok(())
        }
    }

    /// Somebody else writes, without a word.
    fn write(&self, token: Option<TokenData>) {
        *self.token.lock().expect("unpoisoned") = token;
    }

    fn put(&self, token: &TokenData) {
        self.write(Some(token.clone()));
        self.generations.bump("key");
    }

    fn stored(&self) -> Option<String> {
        self.token.lock().expect("unpoisoned").as_ref().map(|token| token.access_token().to_owned())
    }
}

#[async_trait]
impl TokenStorage for Remote {
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

impl TokenLeases for Remote {
    fn lease(&self, _key: &str) -> Box<dyn TokenLease> {
        Box::new(Lease { state: Arc::clone(&self.0), is_held: false })
    }
}

struct Lease {
    state: Arc<State>,
    is_held: bool,
}

#[async_trait]
impl TokenLease for Lease {
    async fn acquire(&mut self, heed_cool_down: bool) -> Result<Acquired, StorageError> {
        self.state.up()?;
        if !self.state.has_leases.load(Ordering::SeqCst) {
            return Err(StorageError::new("no leases").with_nothing_sent());
        }
        if let Some(token) = self.state.left_meanwhile.lock().expect("unpoisoned").take() {
            self.state.put(&token);
        }
        let mut acquired = self.state.acquired.lock().expect("unpoisoned");
        let answer = loop {
            match acquired.pop_front() {
                Some(Acquired::CoolingDown(_)) if !heed_cool_down => {}
                Some(answer) => break answer,
                None => break Acquired::Held { failures: 0 },
            }
        };
        self.is_held = matches!(answer, Acquired::Held { .. });
        Ok(answer)
    }

    async fn spend(&mut self, _id: TokenId, once_more: bool) -> Result<Spending, StorageError> {
        self.state.up()?;
        assert!(self.is_held, "only who holds the lease asks");
        let spending = *self.state.spending.lock().expect("unpoisoned");
        Ok(if once_more && spending == Spending::Foreign { Spending::Ours } else { spending })
    }

    async fn unspend(&mut self, _id: TokenId) -> Result<(), StorageError> {
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
struct Numbered {
    fetches: AtomicUsize,
    refreshes: AtomicUsize,
    fetch_fails: Mutex<Option<AuthenticationError>>,
    refresh_fails: Mutex<Option<AuthenticationError>>,
    expires_at: Mutex<Option<chrono::DateTime<chrono::Utc>>>,
    hangs: AtomicBool,
}

impl Numbered {
    fn calls(&self) -> (usize, usize) {
        (self.fetches.load(Ordering::SeqCst), self.refreshes.load(Ordering::SeqCst))
    }

    fn answer(
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
impl TokenProvider for Numbered {
    fn service_name(&self) -> &'static str {
        "numbered"
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

    async fn refresh_token(&self, _current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let number = self.refreshes.fetch_add(1, Ordering::SeqCst) + 1;
        Self::answer(&self.refresh_fails, format!("r{number}"))
    }
}

struct World {
    remote: Arc<State>,
    provider: Arc<Numbered>,
    clock: Arc<ManualClock>,
    manager: TokenManager,
}

fn world() -> World {
    world_with(|builder| builder)
}

fn world_with(settings: impl FnOnce(TokenManagerBuilder) -> TokenManagerBuilder) -> World {
    let (remote, provider) = (State::new(), Arc::new(Numbered::default()));
    let clock = Arc::new(ManualClock::new());
    let builder = TokenManager::builder(Arc::clone(&provider)).storage(Remote(Arc::clone(&remote)));
    let builder = builder.cache_key("key").clock(Arc::clone(&clock) as _);
    World { remote, provider, clock, manager: settings(builder).build().expect("a manager") }
}

impl World {
    async fn token(&self) -> String {
        self.manager.get_token().await.expect("a token").access_token().to_owned()
    }

    fn reads(&self) -> usize {
        self.remote.reads.load(Ordering::SeqCst)
    }

    fn goes_down(&self, is_down: bool) {
        self.remote.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Lets what runs in the background end.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn expired(access_token: &str) -> TokenData {
    TokenData::new(access_token)
        .with_refresh_token("refresh")
        .with_expires_at(chrono::Utc::now() - Duration::from_secs(60))
}

#[tokio::test]
async fn inv19_a_hit_asks_nobody_until_the_recheck_which_finds_what_nobody_announced() {
    let world = world();
    assert_eq!(world.token().await, "t1");
    let reads = world.reads();
    for _ in 0..100 {
        assert_eq!(world.token().await, "t1");
    }
    world.clock.advance(RECHECK_AFTER / 10 * 9);
    world.token().await;
    world.settle().await;
    assert_eq!(world.reads(), reads);

    world.remote.write(Some(TokenData::new("theirs")));
    world.clock.advance(RECHECK_AFTER);
    assert_eq!(world.token().await, "t1", "nobody waits for the recheck");
    world.settle().await;
    assert_eq!(world.reads(), reads + 1);
    assert_eq!(world.token().await, "theirs");

    world.clock.advance(RECHECK_AFTER * 2);
    world.token().await;
    world.settle().await;
    assert_eq!(
        (world.reads(), world.provider.calls()),
        (reads + 2, (1, 0)),
        "nothing new is no reason to fetch"
    );
}

#[tokio::test]
async fn inv19_what_cannot_be_compared_is_used_for_a_stated_time_only() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    for _ in 0..5 {
        world.clock.advance(TRUSTED_FOR / 6);
        assert_eq!(world.token().await, "shared");
        world.settle().await;
    }
    assert_eq!(world.provider.calls(), (0, 0));
    world.clock.advance(TRUSTED_FOR / 2);
    assert_eq!(world.token().await, "t1");

    // Nobody else has that one, so nobody can change it.
    world.clock.advance(TRUSTED_FOR * 100);
    assert_eq!(world.token().await, "t1");
    assert!(world.manager.cached().is_some());
}

#[tokio::test]
async fn inv07_and_longer_where_nothing_else_can_be_had() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    for _ in 0..10 {
        world.clock.advance(TRUSTED_FOR);
        assert_eq!(world.token().await, "shared");
        assert_eq!(world.token().await, "shared", "also in the cool-down");
    }
    assert!((1..=10).contains(&world.provider.calls().0), "{:?}", world.provider.calls());
    *world.provider.fetch_fails.lock().expect("unpoisoned") = None;
    world.clock.advance(TRUSTED_FOR);
    assert!(world.token().await.starts_with('t'));

    // But not what is known to have changed.
    let world = self::world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.goes_down(true);
    world.remote.generations.bump("key");
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    world.manager.get_token().await.expect_err("no token");
}

#[tokio::test]
async fn inv19_after_a_doubt_the_storage_is_asked_and_what_is_at_hand_stands_in_for_it() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.remote.generations.doubt_all();
    assert!(world.manager.cached().is_none());
    world.goes_down(true);
    assert_eq!(world.token().await, "shared");
    assert!(world.manager.cached().is_some(), "asked once for each doubt");

    world.goes_down(false);
    world.remote.write(Some(TokenData::new("theirs")));
    world.remote.generations.doubt_all();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));
}

#[tokio::test]
async fn inv19_what_is_known_to_have_changed_does_not_stand_in() {
    let world = world();
    world.remote.put(&TokenData::new("shared"));
    assert_eq!(world.token().await, "shared");
    world.remote.generations.bump("key");
    world.goes_down(true);
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv18_a_storage_that_is_back_gets_what_was_fetched_without_it() {
    for theirs in [None, Some(expired("old"))] {
        let world = world();
        world.goes_down(true);
        assert_eq!(world.token().await, "t1");
        world.goes_down(false);
        world.remote.write(theirs);
        world.remote.generations.doubt_all();
        assert_eq!(world.token().await, "t1");
        assert_eq!(world.remote.stored().as_deref(), Some("t1"));
        assert!(world.manager.cached().is_some());
        assert_eq!(world.provider.calls(), (1, 0));
    }
}

#[tokio::test]
async fn inv18_but_not_in_place_of_what_others_have_left_there() {
    let world = world();
    world.goes_down(true);
    assert_eq!(world.token().await, "t1");
    world.goes_down(false);
    world.remote.write(Some(TokenData::new("theirs")));
    world.remote.generations.doubt_all();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.remote.stored().as_deref(), Some("theirs"));
}

#[tokio::test]
async fn inv04_a_token_that_is_left_while_one_waits_for_the_lease_is_taken() {
    let world = world();
    *world.remote.left_meanwhile.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    *world.remote.acquired.lock().expect("unpoisoned") = [Acquired::Changed].into();
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));

    // A change that leaves no token is no reason to stop waiting.
    let world = self::world();
    *world.remote.acquired.lock().expect("unpoisoned") = [Acquired::Changed, Acquired::Changed].into();
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv04_with_the_lease_the_storage_is_read_again() {
    let world = world();
    *world.remote.left_meanwhile.lock().expect("unpoisoned") = Some(TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert_eq!(world.provider.calls(), (0, 0));
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn inv04_who_was_overtaken_adopts_the_newer_token() {
    let world = world();
    *world.remote.overtaken_by.lock().expect("unpoisoned") = Some(TokenData::new("newer"));
    assert_eq!(world.token().await, "newer");
    assert_eq!(world.remote.stored().as_deref(), Some("newer"));
    assert!(world.manager.cached().is_some());
}

#[tokio::test]
async fn inv19_what_was_invalidated_while_it_was_fetched_serves_those_who_wait_and_nobody_else() {
    let world = world();
    world.remote.is_invalidated.store(true, Ordering::SeqCst);
    assert_eq!(world.token().await, "t1");
    assert!(world.manager.cached().is_none());
    assert_eq!(world.token().await, "t2");
    assert_eq!(world.remote.stored().as_deref(), Some("t2"));
}

#[tokio::test]
async fn inv08_all_back_off_from_what_one_has_met_with() {
    let world = world();
    let theirs = CoolDown::new(Duration::from_secs(7), 3).with_status(503);
    *world.remote.acquired.lock().expect("unpoisoned") = [Acquired::CoolingDown(theirs)].into();
    for _ in 0..10 {
        let error = world.manager.get_token().await.expect_err("a cool-down");
        assert!(error.is_transient() && error.status() == Some(StatusCode::SERVICE_UNAVAILABLE), "{error:?}");
        assert_eq!(error.service_name(), "numbered");
    }
    assert_eq!(world.provider.calls(), (0, 0));
    world.clock.advance(Duration::from_secs(7));

    // Failures in a row are counted together. One that the server did not answer may be one's own.
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    let busy = AuthenticationError::new("", AuthenticationErrorKind::Status)
        .with_status(StatusCode::SERVICE_UNAVAILABLE);
    for (failure, in_a_row, at_least, at_most) in [(busy, 4, 4_000, 8_000), (down, 5, 1_000, 1_000)] {
        *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(failure);
        world.manager.get_token().await.expect_err("down");
        let failed = world.remote.failed.lock().expect("unpoisoned").pop().expect("a cool-down");
        assert_eq!(failed.failures(), in_a_row);
        assert!((at_least..=at_most).contains(&failed.left().as_millis()), "{failed:?}");
        world.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn inv08_a_cool_down_is_capped_whatever_the_storage_says() {
    let world = world();
    let theirs = CoolDown::new(Duration::MAX, 3);
    *world.remote.acquired.lock().expect("unpoisoned") = [Acquired::CoolingDown(theirs)].into();
    world.manager.get_token().await.expect_err("a cool-down");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(world.token().await, "t1");
}

#[tokio::test]
async fn inv08_a_token_from_somebody_else_ends_what_one_has_met_with() {
    let world = world();
    let down = AuthenticationError::new("", AuthenticationErrorKind::Connect);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(down);
    for _ in 0..8 {
        world.manager.get_token().await.expect_err("down");
        world.clock.advance(Duration::from_secs(60));
    }
    world.remote.put(&TokenData::new("theirs"));
    assert_eq!(world.token().await, "theirs");
    assert!(world.manager.status().last_error.is_none());
    world.remote.write(None);
    world.remote.generations.bump("key");
    world.manager.get_token().await.expect_err("down");
    assert!(world.manager.status().cool_down.is_some_and(|left| left <= Duration::from_secs(1)));
}

#[tokio::test]
async fn inv08_who_asks_for_a_fetch_expressly_gets_one() {
    let world = world();
    let theirs = CoolDown::new(Duration::from_secs(7), 3);
    *world.remote.acquired.lock().expect("unpoisoned") = [Acquired::CoolingDown(theirs)].into();
    assert_eq!(world.manager.force_refresh().await.expect("a token").access_token(), "t1");
}

#[tokio::test]
async fn inv04_what_only_concerns_one_is_not_shared() {
    use AuthenticationErrorKind::{Configuration, InvalidResponse, Refused};

    for kind in [Refused("invalid_client".into()), Configuration, InvalidResponse] {
        let world = world();
        *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(AuthenticationError::new("", kind));
        world.manager.get_token().await.expect_err("a failure");
        assert!(world.remote.failed.lock().expect("unpoisoned").is_empty());
        assert_eq!(world.remote.released.load(Ordering::SeqCst), 1, "the lease is given back at once");
    }
}

#[tokio::test]
async fn inv05_a_contested_refresh_token_is_not_sent() {
    for (spending, has_leases) in
        [(Spending::Foreign, true), (Spending::LeaseLost, true), (Spending::Ours, false)]
    {
        let world = world();
        world.remote.put(&expired("old"));
        *world.remote.spending.lock().expect("unpoisoned") = spending;
        world.remote.has_leases.store(has_leases, Ordering::SeqCst);
        assert_eq!(world.token().await, "t1", "the full grant");
        assert_eq!(world.provider.calls(), (1, 0));
    }
}

#[tokio::test]
async fn inv05_where_the_full_grant_fails_too_the_error_says_that_a_refresh_failed() {
    let world = world();
    world.remote.put(&expired("old"));
    *world.remote.spending.lock().expect("unpoisoned") = Spending::Foreign;
    let none = AuthenticationError::new("", AuthenticationErrorKind::Other);
    *world.provider.fetch_fails.lock().expect("unpoisoned") = Some(none);
    assert!(world.manager.get_token().await.expect_err("no grant").is_refresh());
}

#[tokio::test]
async fn inv05_unless_the_user_wants_it() {
    for has_leases in [true, false] {
        let world = world_with(|builder| builder.refresh_when_contested(true));
        world.remote.put(&expired("old"));
        *world.remote.spending.lock().expect("unpoisoned") = Spending::Foreign;
        world.remote.has_leases.store(has_leases, Ordering::SeqCst);
        assert_eq!(world.token().await, "r1");
    }
}

#[tokio::test]
async fn inv05_a_mark_is_taken_away_when_the_server_has_not_used_up_the_token() {
    use AuthenticationErrorKind::{Configuration, Connect, InvalidResponse, Refused, Status, Timeout};

    let error = |kind| AuthenticationError::new("", kind);
    for (failure, unspent) in [
        (error(Status).with_status(StatusCode::SERVICE_UNAVAILABLE), 1),
        (error(Refused("invalid_client".into())).with_status(StatusCode::UNAUTHORIZED), 1),
        (error(Connect).with_nothing_sent(), 1),
        (error(Configuration), 1),
        (error(Refused("invalid_grant".into())).with_status(StatusCode::BAD_REQUEST), 0),
        (error(InvalidResponse).with_status(StatusCode::OK), 0),
        (error(Status).with_status(StatusCode::BAD_GATEWAY), 0),
        (error(Status).with_status(StatusCode::INTERNAL_SERVER_ERROR), 0),
        (error(Connect), 0),
        (error(Timeout), 0),
    ] {
        let world = world();
        world.remote.put(&expired("old"));
        let told = failure.clone();
        *world.provider.refresh_fails.lock().expect("unpoisoned") = Some(failure);
        let _ = world.manager.get_token().await;
        assert_eq!(world.remote.unspent.load(Ordering::SeqCst), unspent, "{told:?}");
    }
}

#[tokio::test]
async fn inv05_a_token_whose_storing_was_not_answered_may_be_anybodys() {
    let world = world();
    world.remote.write(Some(TokenData::new("rejected")));
    let rejected = world.manager.get_token().await.expect("a token");
    rejected.mark_accepted();
    // It is stored, and nobody says so. Somebody else has found it, and has sent its refresh token.
    world.remote.is_silent.store(true, Ordering::SeqCst);
    let renewed = world.manager.refresh_rejected(&rejected).await.expect("a renewal").expect("a token");
    assert_eq!((renewed.access_token(), world.remote.stored().as_deref()), ("t1", Some("t1")));
    world.remote.is_silent.store(false, Ordering::SeqCst);
    *world.remote.spending.lock().expect("unpoisoned") = Spending::Foreign;
    renewed.mark_accepted();
    let another = world.manager.refresh_rejected(&renewed).await.expect("a renewal").expect("a token");
    assert_eq!(another.access_token(), "t2", "the full grant");
    assert_eq!(world.provider.calls(), (2, 0));
}

#[tokio::test]
async fn inv19_and_when_it_is_invalidated_it_is_not_put_back() {
    let world = world();
    world.remote.is_silent.store(true, Ordering::SeqCst);
    assert_eq!(world.token().await, "t1");
    world.remote.is_silent.store(false, Ordering::SeqCst);
    world.remote.write(None);
    world.remote.generations.bump("key");
    assert_eq!(world.token().await, "t2");
    assert_eq!(world.remote.stored().as_deref(), Some("t2"));
}

#[tokio::test]
async fn inv11_a_rejected_token_does_not_come_back_with_the_storage() {
    let world = world();
    world.remote.put(&TokenData::new("rejected"));
    let rejected = world.manager.get_token().await.expect("a token");
    rejected.mark_accepted();
    world.goes_down(true);
    let renewed = world.manager.refresh_rejected(&rejected).await.expect("a renewal").expect("a token");
    assert_eq!(renewed.access_token(), "t1");
    world.goes_down(false);
    world.remote.generations.doubt_all();
    assert_eq!(world.token().await, "t1");
    assert_eq!(world.remote.stored().as_deref(), Some("t1"));
}

#[tokio::test]
async fn inv19_a_recheck_does_not_forget_what_is_known_of_a_token() {
    let world = world();
    let nanos = chrono::Utc::now() + Duration::new(3600, 123_456_789);
    *world.provider.expires_at.lock().expect("unpoisoned") = Some(nanos);
    let token = world.manager.get_token().await.expect("a token");
    let rounded = token.token().clone().with_expires_at(chrono::SubsecRound::trunc_subsecs(nanos, 6));
    world.remote.write(Some(rounded));
    world.remote.generations.doubt_all();
    let again = world.manager.get_token().await.expect("a token");
    assert!(Arc::ptr_eq(&token, &again));
}

#[tokio::test]
async fn inv03_a_flight_that_was_detached_holds_nobody_up() {
    let world = world();
    world.provider.hangs.store(true, Ordering::SeqCst);
    let manager = world.manager.clone();
    let waiting = tokio::spawn(async move { manager.get_token().await });
    while world.provider.calls() != (1, 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 0);
    world.manager.invalidate_token().await.expect("told");
    world.settle().await;
    assert_eq!(world.remote.released.load(Ordering::SeqCst), 1, "the lease is given back");
    world.provider.hangs.store(false, Ordering::SeqCst);
    assert_eq!(world.token().await, "t2");
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn inv05_what_nobody_else_has_needs_no_mark() {
    let world = world();
    world.goes_down(true);
    let token = world.manager.get_token().await.expect("a token");
    token.mark_accepted();
    let renewed = world.manager.refresh_rejected(&token).await.expect("a renewal").expect("another token");
    assert_eq!(renewed.access_token(), "r1");
    assert_eq!(world.provider.calls(), (1, 1));
}
