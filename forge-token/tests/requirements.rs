//! The requirement that a manager passes to a provider with tokens or managers of its own, and the cool-down
//! that it takes from such a provider.

#![allow(clippy::expect_used, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, CachingProvider, Clock, ManualClock, TokenData,
    TokenProvider, TokenRequirement, async_trait,
};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::{TokenManager, TokenProvenance};

static NUMBER: AtomicUsize = AtomicUsize::new(1);

/// Records the requirements that it gets, and answers `t1`, `t2`, …, each good for an hour.
#[derive(Default)]
struct RecordingProvider {
    clock: Arc<ManualClock>,
    requirements: Mutex<Vec<TokenRequirement>>,
    forgotten: Mutex<usize>,
}

impl RecordingProvider {
    fn manager(self: &Arc<Self>) -> TokenManager {
        let builder = TokenManager::builder(Arc::clone(self)).clock(Arc::clone(&self.clock) as _);
        builder.storage(InMemoryTokenStorage::new()).build().expect("a manager")
    }

    fn requirements(&self) -> Vec<TokenRequirement> {
        std::mem::take(&mut *self.requirements.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl TokenProvider for RecordingProvider {
    fn service_name(&self) -> &'static str {
        "noting"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        unreachable!("a manager says what it wants");
    }

    fn caching(&self) -> Option<&dyn CachingProvider> {
        Some(self)
    }
}

#[async_trait]
impl CachingProvider for RecordingProvider {
    async fn fetch_token_for(&self, requirement: TokenRequirement) -> Result<TokenData, AuthenticationError> {
        self.requirements.lock().unwrap_or_else(PoisonError::into_inner).push(requirement);
        let now = self.clock.now().wall();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = TokenData::new(format!("t{number}"));
        Ok(token.with_issued_at(now).with_expires_at(now + Duration::from_secs(3600)))
    }

    async fn forget_token(&self) -> Result<(), AuthenticationError> {
        *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(())
    }
}

#[tokio::test]
async fn a_provider_is_told_which_token_will_do() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    let first = manager.get_token().await.expect("a token");
    assert_eq!(provider.requirements(), [TokenRequirement::Valid]);

    let second = manager.refresh_rejected(&first).await.expect("a renewal").expect("another token");
    assert_eq!(provider.requirements(), [TokenRequirement::OtherThan(first.id())]);

    let third = manager.force_refresh().await.expect("a token");
    assert_ne!(third.id(), second.id());
    assert_eq!(provider.requirements(), [TokenRequirement::New]);

    // The token is in its advisory window.
    provider.clock.advance(Duration::from_secs(3_500));
    assert_eq!(manager.get_token().await.expect("a token").id(), third.id());
    assert!(manager.shutdown(Duration::from_secs(60)).await);
    assert_eq!(provider.requirements(), [TokenRequirement::NewerThan(third.id())]);

    // The token has expired.
    let fourth = manager.get_token().await.expect("a token");
    provider.clock.advance(Duration::from_secs(3_600));
    manager.get_token().await.expect("a token");
    assert_eq!(provider.requirements(), [TokenRequirement::NewerThan(fourth.id())]);
}

#[tokio::test]
async fn a_provider_is_told_to_forget_what_it_has() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    manager.get_token().await.expect("a token");
    manager.invalidate_token().await.expect("an invalidation");
    assert_eq!(*provider.forgotten.lock().unwrap_or_else(PoisonError::into_inner), 1);
    manager.get_token().await.expect("a token");
    assert_eq!(provider.requirements(), [TokenRequirement::Valid, TokenRequirement::Valid]);
}

#[tokio::test]
async fn a_token_says_where_it_comes_from() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    let origin = |obtained: Result<(_, TokenProvenance), _>| obtained.expect("a token").1;
    let (one, other) = tokio::join!(
        manager.as_dependency().get_token_for(TokenRequirement::Valid),
        manager.as_dependency().get_token_for(TokenRequirement::Valid)
    );
    assert_eq!([origin(one), origin(other)], [TokenProvenance::Fetched, TokenProvenance::Joined]);
    assert_eq!(
        origin(manager.as_dependency().get_token_for(TokenRequirement::Valid).await),
        TokenProvenance::Cached
    );
    provider.clock.advance(Duration::from_secs(3_600));
    assert_eq!(
        origin(manager.as_dependency().get_token_for(TokenRequirement::Valid).await),
        TokenProvenance::Fetched
    );
}

#[tokio::test]
async fn the_token_instead_of_a_rejected_one_says_where_it_comes_from() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    let rejected = manager.get_token().await.expect("a token");
    let origin =
        |obtained: Result<Option<(_, TokenProvenance)>, _>| obtained.expect("no error").map(|it| it.1);
    let (one, other) = tokio::join!(
        manager.as_dependency().get_token_instead_of(&rejected),
        manager.as_dependency().get_token_instead_of(&rejected)
    );
    assert_eq!([origin(one), origin(other)], [Some(TokenProvenance::Fetched), Some(TokenProvenance::Joined)]);
    assert_eq!(
        origin(manager.as_dependency().get_token_instead_of(&rejected).await),
        Some(TokenProvenance::Cached)
    );
    // No API has accepted the renewed token, so renewals back off.
    let renewed = manager.get_token().await.expect("a token");
    assert_eq!(origin(manager.as_dependency().get_token_instead_of(&renewed).await), None);
}

#[tokio::test]
async fn a_token_can_be_looked_for_and_dropped_without_a_fetch() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    assert!(manager.as_dependency().find_token().await.is_none());
    assert_eq!(provider.requirements(), []);

    let token = manager.get_token().await.expect("a token");
    assert_eq!(manager.as_dependency().find_token().await.map(|found| found.id()), Some(token.id()));
    manager.as_dependency().discard_token(TokenData::new("another").id()).await;
    assert_eq!(manager.as_dependency().find_token().await.map(|found| found.id()), Some(token.id()));
    manager.as_dependency().discard_token(token.id()).await;
    assert!(manager.as_dependency().find_token().await.is_none());
    assert_eq!(provider.requirements(), [TokenRequirement::Valid]);
    assert_ne!(manager.get_token().await.expect("a token").id(), token.id());
    assert_eq!(provider.requirements(), [TokenRequirement::OtherThan(token.id())]);
}

#[tokio::test]
async fn a_newer_token_is_fetched_once_for_all_who_want_one() {
    let provider = Arc::new(RecordingProvider::default());
    let manager = provider.manager();
    let old = manager.get_token().await.expect("a token");
    let requirement = TokenRequirement::NewerThan(old.id());
    let (one, other) = tokio::join!(
        manager.as_dependency().get_token_for(requirement),
        manager.as_dependency().get_token_for(requirement)
    );
    let newer = one.expect("a token").0;
    assert!(newer.id() != old.id() && newer.id() == other.expect("a token").0.id());
    assert_eq!(
        manager.as_dependency().get_token_for(requirement).await.expect("a token").1,
        TokenProvenance::Cached
    );
    assert_eq!(provider.requirements(), [TokenRequirement::Valid, requirement]);
}

/// Fails as a provider does that has got its failure from another manager.
struct DependentProvider(Duration);

#[async_trait]
impl TokenProvider for DependentProvider {
    fn service_name(&self) -> &'static str {
        "dependent"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let error = AuthenticationError::new("dependency", AuthenticationErrorKind::Connect);
        Err(error.with_cool_down(self.0))
    }
}

#[tokio::test]
async fn inv08_a_failure_of_another_manager_is_remembered_as_long_as_there_and_no_longer() {
    let clock = Arc::new(ManualClock::new());
    let manager = TokenManager::builder(DependentProvider(Duration::from_secs(7)));
    let manager = manager.clock(Arc::clone(&clock) as _).build().expect("a manager");
    for _ in 0..5 {
        let error = manager.get_token().await.expect_err("no token");
        assert_eq!(error.cool_down(), Some(Duration::from_secs(7)));
        assert_eq!(manager.status().cool_down, Some(Duration::from_secs(7)));
        clock.advance(Duration::from_secs(3));
        let error = manager.get_token().await.expect_err("no token");
        assert_eq!(error.cool_down(), Some(Duration::from_secs(4)));
        clock.advance(Duration::from_secs(4));
        assert_eq!(manager.status().cool_down, None);
    }
}

#[tokio::test]
async fn inv08_failures_say_how_long_nothing_is_tried() {
    let clock = Arc::new(ManualClock::new());
    let failing = |kind: AuthenticationErrorKind| {
        struct FailingProvider(AuthenticationErrorKind);
        #[async_trait]
        impl TokenProvider for FailingProvider {
            fn service_name(&self) -> &'static str {
                "failing"
            }

            async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
                assert!(self.0 != AuthenticationErrorKind::Panicked, "on purpose");
                Err(AuthenticationError::new("", self.0.clone()))
            }
        }
        let manager = TokenManager::builder(FailingProvider(kind)).clock(Arc::clone(&clock) as _).build();
        manager.expect("a manager")
    };
    let cool_down = async |kind| {
        let error = failing(kind).get_token().await.expect_err("no token");
        error.cool_down().expect("a cool-down")
    };
    let connect = cool_down(AuthenticationErrorKind::Connect).await;
    assert!((100..=250).contains(&connect.as_millis()), "{connect:?}");
    // After these failures the next caller starts a new flight at once.
    assert_eq!(cool_down(AuthenticationErrorKind::Configuration).await, Duration::ZERO);
    assert_eq!(cool_down(AuthenticationErrorKind::Panicked).await, Duration::ZERO);
}
