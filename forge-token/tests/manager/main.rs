//! The manager on a real runtime, with a clock that only the test moves.

#![allow(clippy::expect_used, missing_docs)]

mod provider;
mod storages;

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, ManualClock, OAuthErrorCode, TokenData,
    TokenProvider, TokenStorage,
};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;
use provider::ScriptedProvider;
use storages::{OvertakenStorage, PlainStorage};

async fn numbered(call: usize) -> Result<TokenData, AuthenticationError> {
    Ok(TokenData::new(format!("t{call}")))
}

#[tokio::test]
async fn a_token_is_fetched_once_and_fetched_again_when_it_expires() {
    let clock = Arc::new(ManualClock::new());
    let provider = ScriptedProvider::new({
        let clock = Arc::clone(&clock);
        move |call| {
            let now = clock.now().wall();
            let lives = Duration::from_secs(3600);
            async move { Ok(TokenData::new(format!("t{call}")).with_issued_at(now).with_expires_at(now + lives)) }
        }
    });
    let manager = TokenManager::builder(Arc::clone(&provider))
        .clock(Arc::clone(&clock) as _)
        .build()
        .expect("a manager");
    for _ in 0..10 {
        assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1");
    }
    assert_eq!(manager.with_token(|token| token.access_token().to_owned()).as_deref(), Some("t1"));
    clock.advance(Duration::from_secs(3569));
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1");
    clock.advance(Duration::from_secs(1));
    assert!(manager.cached().is_none());
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t2");
    assert_eq!(provider.calls(), 2);
}

#[tokio::test]
async fn inv10_the_earlier_verdict_of_the_two_clocks_wins() {
    let fresh = || {
        let clock = Arc::new(ManualClock::new());
        let expires_at = clock.now().wall() + Duration::from_secs(3600);
        let provider = ScriptedProvider::new(move |call| async move {
            Ok(TokenData::new(format!("t{call}")).with_expires_at(expires_at))
        });
        (TokenManager::builder(provider).clock(Arc::clone(&clock) as _).build().expect("a manager"), clock)
    };
    // A suspended machine: the monotonic clock has stopped.
    let (manager, clock) = fresh();
    manager.get_token().await.expect("a token");
    clock.suspend(Duration::from_secs(3600));
    assert!(manager.cached().is_none());

    // The wall clock was set back. By that clock alone the token would be fresh for another hour.
    let (manager, clock) = fresh();
    manager.get_token().await.expect("a token");
    clock.advance(Duration::from_secs(3500));
    clock.step_wall(-3_600_000);
    assert!(manager.cached().is_some());
    clock.advance(Duration::from_secs(100));
    assert!(manager.cached().is_none());
}

#[tokio::test(start_paused = true)]
async fn inv02_the_first_caller_is_dropped_and_the_others_are_served_by_its_fetch() {
    let provider = ScriptedProvider::new(|call| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        numbered(call).await
    });
    let manager = TokenManager::new(Arc::clone(&provider));
    let first = tokio::time::timeout(Duration::from_millis(10), manager.get_token()).await;
    assert!(first.is_err());
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1");
    assert_eq!(provider.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn inv03_a_provider_that_hangs_is_an_error_in_time_and_the_next_caller_starts_afresh() {
    let provider = ScriptedProvider::new(|call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        numbered(call).await
    });
    let manager = TokenManager::builder(Arc::clone(&provider))
        .fetch_timeout(Duration::from_secs(5))
        .build()
        .expect("a manager");
    let begun = tokio::time::Instant::now();
    let (one, two) = tokio::join!(manager.get_token(), manager.get_token());
    assert!(one.expect_err("hung").is_timeout() && two.expect_err("hung").is_timeout());
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t2");
}

#[tokio::test]
async fn inv03_a_panic_is_an_error_and_the_next_caller_starts_afresh() {
    let provider = ScriptedProvider::new(|call| async move {
        assert!(call > 1, "canary: the first call panics on purpose");
        numbered(call).await
    });
    let manager = TokenManager::new(provider);
    let error = manager.get_token().await.expect_err("panicked");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Panicked);
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t2");
}

/// A provider whose first call never ends, for runtimes that come and go.
static SHARED: LazyLock<TokenManager> = LazyLock::new(|| {
    TokenManager::new(ScriptedProvider::new(|call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        numbered(call).await
    }))
});

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn inv03_a_static_manager_outlives_the_runtime_that_carried_its_flight() {
    let first = runtime();
    first.block_on(async {
        let waiting = tokio::time::timeout(Duration::from_millis(20), SHARED.get_token()).await;
        assert!(waiting.is_err(), "the first fetch hangs");
    });
    // A caller on a second runtime joins the flight. The first runtime ends, and the flight with it. The
    // caller then starts another flight.
    let waiter = std::thread::spawn(|| {
        runtime().block_on(async { SHARED.get_token().await.expect("a token").access_token().to_owned() })
    });
    std::thread::sleep(Duration::from_millis(50));
    drop(first);
    assert_eq!(waiter.join().expect("no panic"), "t2");
    runtime().block_on(async { assert_eq!(SHARED.get_token().await.expect("a token").access_token(), "t2") });
}

#[test]
fn inv03_a_flight_whose_runtime_is_not_driven_is_given_up() {
    let provider = ScriptedProvider::new(|call| async move {
        if call == 1 {
            std::future::pending::<()>().await;
        }
        numbered(call).await
    });
    let manager =
        TokenManager::builder(provider).fetch_timeout(Duration::from_millis(20)).build().expect("a manager");
    let idle = runtime();
    idle.block_on(async {
        let waiting = tokio::time::timeout(Duration::from_millis(1), manager.get_token()).await;
        assert!(waiting.is_err());
    });
    // `idle` still exists, but no thread drives it, so the flight cannot even time out.
    runtime().block_on(async {
        assert!(manager.get_token().await.expect_err("stuck").is_timeout());
        assert_eq!(manager.get_token().await.expect("a token").access_token(), "t2");
    });
}

#[test]
fn without_a_runtime_there_is_a_clear_error() {
    let manager = TokenManager::new(ScriptedProvider::new(numbered));
    let mut call = std::pin::pin!(manager.get_token());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // Without a runtime there is no time-out either: the manager reads the deadline only after it has begun
    // the flight.
    let std::task::Poll::Ready(result) = call.as_mut().poll(&mut context) else { panic!("it must not wait") };
    let error = result.expect_err("no runtime");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
    assert!(error.to_string().contains("runtime"), "{error}");
}

#[tokio::test]
async fn an_expired_token_with_a_refresh_token_is_refreshed() {
    let clock = Arc::new(ManualClock::new());
    let provider = ScriptedProvider::new({
        let clock = Arc::clone(&clock);
        move |_| {
            let expires_at = clock.now().wall() + Duration::from_secs(3600);
            async move { Ok(TokenData::new("first").with_refresh_token("r").with_expires_at(expires_at)) }
        }
    });
    let manager = TokenManager::builder(Arc::clone(&provider))
        .clock(Arc::clone(&clock) as _)
        .build()
        .expect("a manager");
    manager.get_token().await.expect("a token");
    clock.advance(Duration::from_secs(3600));
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "refreshed 1");
    assert_eq!((provider.calls(), provider.refreshes()), (1, 1));
    // A forced refresh uses the full grant, although a refresh token is cached.
    assert_eq!(manager.force_refresh().await.expect("a token").access_token(), "first");
}

#[tokio::test]
async fn inv08_a_failed_refresh_of_a_rejected_token_falls_back_to_the_full_grant() {
    let refused = AuthenticationErrorKind::Refused(OAuthErrorCode::InvalidGrant);
    for kind in [refused, AuthenticationErrorKind::Connect] {
        let provider = ScriptedProvider::failing_to_refresh(kind, |call| async move {
            Ok(TokenData::new(format!("t{call}")).with_refresh_token("r"))
        });
        let manager = TokenManager::new(Arc::clone(&provider));
        let token = manager.get_token().await.expect("a token");
        let renewed = manager.refresh_rejected(&token).await;
        assert_eq!(provider.refreshes(), 1);
        assert_eq!(renewed.expect("a renewal").expect("another token").access_token(), "t2");
    }
}

#[tokio::test]
async fn inv11_a_renewal_that_brings_the_rejected_token_again_is_not_replayed_and_backs_off() {
    let clock = Arc::new(ManualClock::new());
    let provider = ScriptedProvider::new(|_| async { Ok(TokenData::new("the same")) });
    let manager = TokenManager::builder(Arc::clone(&provider))
        .clock(Arc::clone(&clock) as _)
        .build()
        .expect("a manager");
    let token = manager.get_token().await.expect("a token");
    token.mark_accepted();
    for _ in 0..100 {
        assert!(manager.refresh_rejected(&token).await.expect("no failure").is_none());
    }
    assert_eq!(provider.calls(), 2);
    clock.advance(Duration::from_secs(1));
    assert!(manager.refresh_rejected(&token).await.expect("no failure").is_none());
    assert_eq!(provider.calls(), 3);
}

#[tokio::test]
async fn inv15_a_rejected_token_is_not_handed_out_again_when_its_renewal_fails() {
    let provider = ScriptedProvider::new(|call| async move {
        if call > 1 {
            return Err(AuthenticationError::new("", AuthenticationErrorKind::Connect));
        }
        numbered(call).await
    });
    let manager = TokenManager::new(provider);
    let rejected = manager.get_token().await.expect("a token");
    manager.refresh_rejected(&rejected).await.expect_err("no connection");
    assert!(manager.cached().is_none());
    assert!(!manager.status().has_token);
    manager.get_token().await.expect_err("still none");
}

#[tokio::test]
async fn inv11_a_rejected_token_leaves_the_storage_unless_it_can_be_refreshed_and_is_not_adopted_from_it() {
    for refreshable in [false, true] {
        let provider =
            ScriptedProvider::failing_to_refresh(AuthenticationErrorKind::Connect, move |call| async move {
                if call > 1 {
                    return Err(AuthenticationError::new("", AuthenticationErrorKind::Connect));
                }
                let token = TokenData::new("rejected");
                Ok(if refreshable { token.with_refresh_token("r") } else { token })
            });
        let storage = InMemoryTokenStorage::new();
        let manager = TokenManager::builder(provider).storage(storage.clone()).build().expect("a manager");
        let rejected = manager.get_token().await.expect("a token");
        manager.refresh_rejected(&rejected).await.expect_err("no connection");
        let is_kept = storage.exists(manager.cache_key()).await.expect("asked");
        assert_eq!(is_kept, refreshable, "its refresh token must not be lost, and nothing else kept");
        manager.get_token().await.expect_err("it was rejected");
        // The same access token with another scope is still the same token.
        let reworded = TokenData::new("rejected").with_scope("read");
        storage.set(manager.cache_key(), &reworded).await.expect("set");
        manager.get_token().await.expect_err("it was rejected");
    }
}

#[tokio::test(start_paused = true)]
async fn inv14_a_token_call_is_timed_by_default() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let url = format!("http://{}/token", silent.local_addr().expect("an address"));
    let provider = forge_token::ClientCredentialsTokenProvider::builder(url, "client", "secret");
    let begun = tokio::time::Instant::now();
    let error = provider.build().expect("a provider").fetch_token().await.expect_err("nobody answers");
    assert!(error.is_timeout(), "{error:?}");
    assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn inv11_a_rejected_token_is_compared_before_it_is_deleted() {
    let inner = InMemoryTokenStorage::new();
    let provider = ScriptedProvider::new({
        let inner = inner.clone();
        move |call| {
            let inner = inner.clone();
            async move {
                if call > 1 {
                    let stored = inner.get("key").await.expect("asked").expect("it must still be there");
                    assert_eq!(stored.access_token(), "somebody else's");
                }
                numbered(call).await
            }
        }
    });
    let manager = TokenManager::builder(provider)
        .storage(OvertakenStorage(inner.clone()))
        .cache_key("key")
        .build()
        .expect("a manager");
    let rejected = manager.get_token().await.expect("a token");
    inner.set("key", rejected.token()).await.expect("set");
    let renewed = manager.refresh_rejected(&rejected).await.expect("a renewal").expect("another token");
    assert_eq!(renewed.access_token(), "t2");
}

#[tokio::test]
async fn inv11_two_managers_over_one_storage_agree_at_once() {
    let storage = InMemoryTokenStorage::new();
    let provider = ScriptedProvider::new(numbered);
    let manager =
        || TokenManager::builder(Arc::clone(&provider)).storage(storage.clone()).build().expect("a manager");
    let (one, two) = (manager(), manager());
    let token = one.get_token().await.expect("a token");
    assert_eq!(two.get_token().await.expect("a token").id(), token.id());
    one.invalidate_token().await.expect("forgotten");
    assert!(two.cached().is_none());
    assert_eq!(two.get_token().await.expect("a token").access_token(), "t2");
    let renewed = two.refresh_rejected(&two.get_token().await.expect("a token")).await.expect("a renewal");
    assert_eq!(one.get_token().await.expect("a token").id(), renewed.expect("another token").id());
    assert_eq!(provider.calls(), 3);
}

#[tokio::test]
async fn a_plain_storage_conforms() {
    forge_core::storage_conformance::check(PlainStorage::default(), "").await;
}

#[tokio::test]
async fn inv19_a_storage_without_announcements_is_asked_each_time() {
    let storage = Arc::new(PlainStorage::default());
    let provider = ScriptedProvider::new(numbered);
    let manager = TokenManager::builder(Arc::clone(&provider))
        .storage(Arc::clone(&storage))
        .build()
        .expect("a manager");
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1");
    assert!(manager.cached().is_none());
    let asked = storage.asked.load(Ordering::SeqCst);
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1");
    assert_eq!(storage.asked.load(Ordering::SeqCst), asked + 1);

    storage.set(manager.cache_key(), &TokenData::new("from elsewhere")).await.expect("set");
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "from elsewhere");
    assert_eq!(provider.calls(), 1);

    let rejected = manager.get_token().await.expect("a token");
    let renewed = manager.refresh_rejected(&rejected).await.expect("a renewal").expect("another token");
    assert_eq!(renewed.access_token(), "t2");
    for _ in 0..100 {
        assert!(manager.refresh_rejected(&renewed).await.expect("no failure").is_none(), "it must back off");
    }
}

/// Texts that no header can carry, or that are no credential in a header.
const NO_TOKENS: [&str; 4] = ["", " ", "caf\u{e9}", "a\nb"];

#[tokio::test]
async fn inv20_what_is_no_token_is_a_miss_in_a_storage_and_is_replaced() {
    for text in NO_TOKENS {
        let (announced, plain) = (InMemoryTokenStorage::new(), Arc::new(PlainStorage::default()));
        let storages: [Arc<dyn TokenStorage>; 2] = [Arc::new(announced), plain];
        for storage in storages {
            let provider = ScriptedProvider::new(numbered);
            let manager = TokenManager::builder(Arc::clone(&provider)).storage(Arc::clone(&storage));
            let manager = manager.build().expect("a manager");
            let unusable = TokenData::new(text).with_refresh_token("r");
            storage.set(manager.cache_key(), &unusable).await.expect("set");
            for _ in 0..2 {
                assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1", "{text:?}");
            }
            let stored = storage.get(manager.cache_key()).await.expect("asked").expect("a token");
            assert_eq!(stored.access_token(), "t1", "{text:?}");
            assert_eq!((provider.calls(), provider.refreshes()), (1, 0), "{text:?}");
        }
    }
}

#[tokio::test]
async fn inv15_what_a_provider_brings_and_is_no_token_is_an_error_and_is_not_stored() {
    for text in NO_TOKENS {
        let storage = InMemoryTokenStorage::new();
        let provider = ScriptedProvider::new(move |_| async move { Ok(TokenData::new(text)) });
        let manager = TokenManager::builder(provider).storage(storage.clone()).build().expect("a manager");
        let error = manager.get_token().await.expect_err("no token");
        assert_eq!(*error.kind(), AuthenticationErrorKind::InvalidResponse, "{text:?}");
        assert_eq!(error.service_name(), "scripted");
        assert!(!storage.exists(manager.cache_key()).await.expect("asked"), "{text:?}");
    }
}

#[tokio::test]
async fn inv18_a_broken_storage_costs_no_token_and_no_token_call_per_caller() {
    let cases = [
        PlainStorage { broken: true, ..PlainStorage::default() },
        PlainStorage { unwritable: true, ..PlainStorage::default() },
        PlainStorage { unreadable: true, ..PlainStorage::default() },
    ];
    for storage in cases {
        let shown = format!("{storage:?}");
        let provider = ScriptedProvider::new(numbered);
        let manager =
            TokenManager::builder(Arc::clone(&provider)).storage(storage).build().expect("a manager");
        for _ in 0..10 {
            assert_eq!(manager.get_token().await.expect("a token").access_token(), "t1", "{shown}");
        }
        let rejected = manager.get_token().await.expect("a token");
        let renewed = manager.refresh_rejected(&rejected).await.expect("a renewal").expect("another token");
        for _ in 0..10 {
            assert_eq!(manager.get_token().await.expect("a token").id(), renewed.id(), "{shown}");
        }
        assert_eq!(provider.calls(), 2, "{shown}");
    }
    let storage = PlainStorage { broken: true, ..PlainStorage::default() };
    let manager =
        TokenManager::builder(ScriptedProvider::new(numbered)).storage(storage).build().expect("a manager");
    manager.get_token().await.expect("a token");
    let error = manager.invalidate_token().await.expect_err("the storage was not told");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Storage);
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "t2", "here it is forgotten");
}

#[tokio::test]
async fn inv09_what_is_stored_can_be_refreshed_by_another_manager() {
    let storage = InMemoryTokenStorage::new();
    let provider = ScriptedProvider::new(numbered);
    let manager = TokenManager::builder(Arc::clone(&provider))
        .storage(storage.clone())
        .cache_key("shared")
        .build()
        .expect("a manager");
    let expired = TokenData::new("old")
        .with_refresh_token("r")
        .with_expires_at(chrono::Utc::now() - Duration::from_secs(60));
    storage.set("shared", &expired).await.expect("set");
    assert_eq!(manager.get_token().await.expect("a token").access_token(), "refreshed 1");
    assert_eq!(provider.calls(), 0);
}

#[test]
fn without_a_runtime_what_needs_one_is_an_error_and_nothing_panics() {
    let provider = ScriptedProvider::new(|call| async move { Ok(TokenData::new(format!("t{call}"))) });
    let storage = InMemoryTokenStorage::new();
    let manager = TokenManager::builder(provider).storage(storage).build().expect("a manager");
    let token = runtime().block_on(manager.get_token()).expect("a token");
    assert!(at_once(manager.get_token()).is_ok() && at_once(manager.warm_up(Duration::from_secs(1))).is_ok());
    let is_told = |result: Result<(), AuthenticationError>| {
        assert_eq!(result.expect_err("an error").kind(), &AuthenticationErrorKind::Configuration);
    };
    is_told(at_once(manager.force_refresh()).map(drop));
    at_once(manager.as_dependency().discard_token(token.id()));
    // The manager itself still forgets the token.
    is_told(at_once(manager.invalidate_token()));
    assert!(manager.cached().is_none());
    is_told(at_once(manager.get_token()).map(drop));
    is_told(at_once(manager.warm_up(Duration::from_secs(1))));
    assert!(
        at_once(manager.as_dependency().find_token()).is_none()
            && at_once(manager.shutdown(Duration::from_secs(1)))
    );
}

/// Polls the future once and returns its output. Panics if the future waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}
