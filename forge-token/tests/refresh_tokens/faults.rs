//! Ways in which a token or a refresh token was lost, sent twice, or kept from callers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{AuthenticationError, AuthenticationErrorKind as Kind, TokenData, TokenStorage};
use forge_storage_memory::InMemoryTokenStorage;
use forge_token::TokenManager;

use crate::issuer::{Failure, error};
use crate::scripted::{ScriptedProvider, Step};
use crate::world::{STORAGES, Storage, World, name};

fn status(code: u16) -> AuthenticationError {
    error(Kind::Status, Some(code))
}
fn busy() -> AuthenticationError {
    status(503).with_retry_after(Duration::from_secs(3600))
}
async fn get(manager: &TokenManager) -> Result<String, AuthenticationError> {
    manager.get_token().await.map(|token| name(&token))
}

/// Fault: the manager used a token that another manager had invalidated as a reason to honour `Retry-After`
/// for an hour.
#[tokio::test]
async fn inv08_a_token_that_was_invalidated_elsewhere_is_none_at_hand() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = issuer.storage();
    let manager = || issuer.manager().storage(storage.clone()).build().expect("as scripted");
    let (one, two) = (manager(), manager());
    assert_eq!(get(&one).await.expect("as scripted"), "t1");
    two.invalidate_token().await.expect("as scripted");
    issuer.fetch([Step::Err(busy())]);
    let error = get(&one).await.expect_err("as scripted");
    let also = get(&two).await.expect_err("as scripted");
    let new = get(&manager()).await.expect_err("as scripted");
    for error in [error, also, new] {
        assert!(
            error.cool_down().expect("as scripted") <= Duration::from_secs(300),
            "{:?}",
            error.cool_down()
        );
    }
}

/// Fault: a cool-down that began while a valid token was cached went on after an API had rejected that token.
#[tokio::test]
async fn inv08_what_was_heeded_for_a_token_at_hand_ends_with_that_token() {
    for way in ["401", "invalidate"] {
        let issuer = ScriptedProvider::new(true, true);
        let storage = issuer.storage();
        let manager = || issuer.manager().storage(storage.clone()).build().expect("as scripted");
        let (one, two) = (manager(), manager());
        let token = one.get_token().await.expect("as scripted");
        get(&two).await.expect("as scripted");
        issuer.fetch([Step::Err(busy())]);
        one.force_refresh().await.expect_err("as scripted");
        issuer.clock.advance(Duration::from_secs(301));
        token.mark_accepted();
        let result = if way == "401" {
            one.refresh_rejected(&token).await.map(|t| t.map(|t| name(&t)))
        } else {
            one.invalidate_token().await.expect("as scripted");
            get(&one).await.map(Some)
        };
        assert!(result.is_ok(), "{way}: {:?}", result.map_err(|e| e.cool_down()));
        let other = two.refresh_rejected(&token).await.map(|t| t.map(|t| name(&t)));
        assert!(other.is_ok(), "{way}: {:?}", other.map_err(|e| e.cool_down()));
    }
}

/// Fault: no full grant; a background refresh fails in doubt, then an API answers 401.
#[tokio::test]
async fn inv23_a_rejection_ends_what_was_put_off_for_the_token_at_hand() {
    for storage in STORAGES {
        let world = World::build(storage, false, |b| b.advisory_window(Duration::from_secs(1800))).await;
        world.issuer.fail([Failure::Error(status(500))]);
        let left = world.manager.status().usable_for.expect("as scripted");
        world.clock.advance(left.saturating_sub(Duration::from_secs(1200)));
        for _ in 0..60 {
            world.token().await;
            world.settle().await;
            world.clock.advance(Duration::from_secs(1));
        }
        let token = world.manager.get_token().await.expect("as scripted");
        token.mark_accepted();
        let result = world.manager.refresh_rejected(&token).await.map(|t| t.map(|t| name(&t)));
        assert_eq!(
            result.map_err(|e| (e.cool_down(), e.to_string())),
            Ok(Some("t2".to_owned())),
            "{storage:?}"
        );
    }
}

/// Fault: no full grant, and the refresh hangs.
#[tokio::test(start_paused = true)]
async fn inv23_where_only_a_refresh_is_left_one_that_hangs_twice_needs_a_login() {
    for storage in STORAGES {
        let world = World::build(storage, false, |b| b.fetch_timeout(Duration::from_secs(3))).await;
        world.issuer.fail((0..9).map(|_| Failure::Hang));
        world.expire();
        for _ in 0..5 {
            let error = world.manager.get_token().await.expect_err("as scripted");
            world.clock.advance(Duration::from_secs(3));
            if world.issuer.sent().len() >= 2 {
                assert!(error.needs_login(), "{storage:?} {:?} {error}", world.issuer.sent());
            }
        }
    }
}

/// Fault: the refresh is in doubt once, and the server refuses the full grant, with and without
/// `refresh_when_contested`.
#[tokio::test]
async fn inv23_where_the_full_grant_is_refused_a_token_in_doubt_is_sent_once_more() {
    for contested in [true, false] {
        for memory in [false, true] {
            let issuer = ScriptedProvider::new(true, true);
            let mut builder = issuer.manager().refresh_when_contested(contested);
            if memory {
                builder = builder.storage(issuer.storage());
            }
            let manager = builder.build().expect("as scripted");
            assert_eq!(get(&manager).await.expect("as scripted"), "t1");
            let refused = || Step::Err(error(Kind::Refused("invalid_grant".into()), Some(400)));
            issuer.fetch((0..1000).map(|_| refused()));
            issuer.refresh([Step::Err(status(502))]);
            issuer.clock.advance(Duration::from_secs(3600));
            for _ in 0..100 {
                if get(&manager).await.is_ok() {
                    break;
                }
                issuer.clock.advance(Duration::from_secs(600));
            }
            let result = get(&manager).await;
            assert!(
                result.is_ok(),
                "contested {contested} memory {memory}: sent {:?} fetched {} -> {result:?}",
                issuer.sent(),
                issuer.fetched()
            );
        }
    }
}

/// Fault: the provider returns a token that a header cannot carry.
#[tokio::test]
async fn inv25_an_access_token_that_no_header_can_carry_takes_no_doubt_away() {
    let issuer = ScriptedProvider::new(true, true);
    let manager = issuer.manager().build().expect("as scripted");
    assert_eq!(get(&manager).await.expect("as scripted"), "t1");
    issuer.refresh([Step::Bad]);
    issuer.clock.advance(Duration::from_secs(3600));
    let first = get(&manager).await;
    issuer.clock.advance(Duration::from_secs(60));
    let second = get(&manager).await;
    assert_ne!(issuer.sent(), ["r1", "r1"], "{first:?} {second:?}");
}

/// Fault: the server does not rotate; the success of another manager did not end the doubt.
#[tokio::test]
async fn inv25_what_another_manager_brings_ends_the_doubt() {
    let issuer = ScriptedProvider::new(false, false);
    let storage = issuer.storage();
    let manager = || issuer.manager().storage(storage.clone()).build().expect("as scripted");
    let (one, two) = (manager(), manager());
    assert_eq!(get(&one).await.expect("as scripted"), "t1");
    issuer.clock.advance(Duration::from_secs(3600));
    issuer.refresh([Step::Err(status(502))]);
    get(&one).await.expect_err("as scripted");
    issuer.clock.advance(Duration::from_secs(60));
    assert_eq!(get(&two).await.expect("as scripted"), "t2");
    assert_eq!(get(&one).await.expect("as scripted"), "t2");
    // A day later.
    issuer.clock.advance(Duration::from_secs(3600));
    issuer.refresh([Step::Err(status(502))]);
    let error = get(&one).await.expect_err("as scripted");
    assert!(!error.needs_login(), "{:?} {error}", issuer.sent());
}

/// Fault: after an ordinary renewal the storage falls back to the previous record.
#[tokio::test]
async fn inv25_a_storage_that_falls_back_does_not_bring_back_a_spent_refresh_token() {
    for full in [true, false] {
        let issuer = ScriptedProvider::new(full, true);
        let storage = issuer.storage();
        let manager = issuer.manager().storage(storage.clone()).build().expect("as scripted");
        let first = manager.get_token().await.expect("as scripted");
        issuer.clock.advance(Duration::from_secs(3600));
        assert_eq!(get(&manager).await.expect("as scripted"), "t2");
        storage.set("key", first.token()).await.expect("as scripted");
        let result = get(&manager).await;
        assert_ne!(issuer.sent(), ["r1", "r1"], "full {full} fetched {} {result:?}", issuer.fetched());
    }
}

/// Fault: an eviction removed the mark.
#[tokio::test(start_paused = true)]
async fn inv25_a_mark_outlives_the_eviction_of_its_token() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = InMemoryTokenStorage::builder().capacity(1).clock(Arc::clone(&issuer.clock) as _).build();
    let manager = || {
        issuer
            .manager()
            .storage(storage.clone())
            .fetch_timeout(Duration::from_secs(3))
            .build()
            .expect("as scripted")
    };
    let (one, two) = (manager(), manager());
    assert_eq!(get(&one).await.expect("as scripted"), "t1");
    assert_eq!(get(&two).await.expect("as scripted"), "t1");
    for i in 0..10 {
        storage.set(&format!("{i}"), &TokenData::new("x")).await.expect("as scripted");
    }
    assert!(!storage.exists("key").await.expect("as scripted"));
    issuer.clock.advance(Duration::from_secs(3600));
    issuer.refresh([Step::Hang]);
    issuer.fetch([Step::Hang]);
    get(&one).await.expect_err("as scripted");
    let second = get(&two).await;
    assert_eq!(issuer.sent(), ["r1"], "{second:?}");
}

/// Two managers over one storage: the second finds the mark of the first.
#[tokio::test(start_paused = true)]
async fn inv25_over_one_storage_another_manager_finds_the_mark() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = issuer.storage();
    let manager = || {
        issuer
            .manager()
            .storage(storage.clone())
            .fetch_timeout(Duration::from_secs(3))
            .build()
            .expect("a manager")
    };
    let (one, two) = (manager(), manager());
    assert_eq!(get(&one).await.expect("as scripted"), "t1");
    issuer.clock.advance(Duration::from_secs(3600));
    issuer.refresh([Step::Hang, Step::Hang]);
    issuer.fetch([Step::Hang]);
    get(&one).await.expect_err("both hang");
    assert_eq!(get(&two).await.expect("as scripted"), "t2");
    assert_eq!(issuer.sent(), ["r1"]);
}

/// Fault: a caller whose token was rejected joins a background flight.
#[tokio::test(start_paused = true)]
async fn inv23_a_rejected_caller_does_not_take_the_failure_of_a_renewal_ahead_of_time() {
    let issuer = ScriptedProvider::new(true, true);
    let manager = issuer.manager().build().expect("as scripted");
    let token = manager.get_token().await.expect("as scripted");
    token.mark_accepted();
    issuer.refresh([Step::SlowErr(status(500))]);
    issuer.clock.advance(Duration::from_secs(3400));
    get(&manager).await.expect("as scripted");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let result = manager.refresh_rejected(&token).await.map(|t| t.map(|t| name(&t)));
    assert_eq!(result.map_err(|e| e.to_string()), Ok(Some("t2".to_owned())), "{:?}", issuer.sent());
}

/// Fault: no full grant, a storage in memory: after one quick 500 callers had no token for too long.
#[tokio::test]
async fn inv23_our_own_call_that_has_ended_is_waited_for_by_nobody() {
    for storage in STORAGES {
        let world = World::with_token(storage, false).await;
        world.issuer.fail([Failure::Error(status(500))]);
        world.expire();
        let mut waited = 0;
        while world.manager.get_token().await.is_err() {
            waited += 250;
            world.clock.advance(Duration::from_millis(250));
        }
        assert!(waited < 1_000, "{storage:?} {waited} ms");
    }
}

/// Fault: an invalidation while the hook runs.
#[tokio::test(start_paused = true)]
async fn inv01_a_flight_that_was_invalidated_keeps_nobody_waiting_with_its_hook() {
    let issuer = ScriptedProvider::new(true, true);
    let manager = issuer
        .manager()
        .storage(issuer.storage())
        .fetch_timeout(Duration::from_secs(4))
        .on_refresh_token(|_| std::future::pending())
        .build()
        .expect("as scripted");
    let waiting = tokio::spawn({
        let m = manager.clone();
        async move { get(&m).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    manager.invalidate_token().await.expect("as scripted");
    let begun = tokio::time::Instant::now();
    let next = get(&manager).await;
    assert!(begun.elapsed().as_secs() <= 5, "{next:?} after {:?}: only its own hook", begun.elapsed());
    waiting.await.expect("as scripted").expect("as scripted");
}

/// Fault: a detached flight that ended late cleared the doubt of the current flight.
#[tokio::test(start_paused = true)]
async fn inv25_a_flight_that_was_detached_takes_no_doubt_away() {
    let issuer = ScriptedProvider::new(true, true);
    let manager = issuer.manager().build().expect("as scripted");
    issuer.fetch([Step::Slow]);
    let earlier = tokio::spawn({
        let m = manager.clone();
        async move { get(&m).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    manager.invalidate_token().await.expect("as scripted");
    assert_eq!(get(&manager).await.expect("as scripted"), "t1");
    issuer.clock.advance(Duration::from_secs(3400));
    // In the background: in doubt at 0.1 s + 0.95 s.
    issuer.refresh([Step::SlowErr(status(500))]);
    get(&manager).await.expect("as scripted");
    earlier.await.expect("as scripted").expect("as scripted");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(issuer.sent(), ["r1"]);
    issuer.clock.advance(Duration::from_secs(20));
    get(&manager).await.expect("as scripted");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(issuer.sent(), ["r1"], "fetched {}", issuer.fetched());
}

/// The setting of the manager that adopts a cool-down.
#[tokio::test]
async fn inv08_a_shared_cool_down_is_heeded_as_long_as_the_setting_says() {
    let issuer = ScriptedProvider::new(true, true);
    let storage = issuer.storage();
    let one = issuer.manager().storage(storage.clone()).build().expect("as scripted");
    let two = issuer
        .manager()
        .storage(storage.clone())
        .max_retry_after(Duration::from_secs(20))
        .build()
        .expect("as scripted");
    issuer.fetch([Step::Err(busy())]);
    let a = get(&one).await.expect_err("as scripted");
    let b = get(&two).await.expect_err("as scripted");
    assert!(
        b.cool_down().expect("as scripted") <= Duration::from_secs(20),
        "{:?} {:?}",
        a.cool_down(),
        b.cool_down()
    );
}

/// Fault: no full grant; `discard_token` deleted the record with the only refresh token.
#[tokio::test]
async fn inv23_discarding_a_token_gives_no_login_away() {
    for storage in STORAGES {
        let world = World::with_token(storage, false).await;
        let id = world.manager.get_token().await.expect("as scripted").id();
        world.manager.as_dependency().discard_token(id).await;
        let result = world.manager.get_token().await.map(|t| name(&t));
        assert_eq!(
            world.issuer.sent(),
            ["r1"],
            "{storage:?} {result:?}: a refresh-only provider was asked for a full grant"
        );
    }
}

/// Fault: the runtime ends while the hook runs.
#[test]
fn inv25_a_runtime_that_ends_during_the_hook_loses_no_token() {
    let issuer = ScriptedProvider::new(false, true);
    let hangs = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let h = Arc::clone(&hangs);
    let manager = issuer
        .manager()
        .on_refresh_token(move |_| {
            let h = Arc::clone(&h);
            async move {
                if h.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
            }
        })
        .build()
        .expect("as scripted");
    let one = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("as scripted");
    let two = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("as scripted");
    assert_eq!(two.block_on(get(&manager)).expect("as scripted"), "t1");
    issuer.clock.advance(Duration::from_secs(3600));
    hangs.store(true, Ordering::SeqCst);
    one.spawn({
        let m = manager.clone();
        async move { get(&m).await }
    });
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(issuer.sent(), ["r1"]);
    drop(one);
    hangs.store(false, Ordering::SeqCst);
    let next = two.block_on(get(&manager));
    assert_ne!(issuer.sent(), ["r1", "r1"], "{next:?}");
}

/// Fault: the background attempt did not count as the first attempt.
#[tokio::test]
async fn inv23_patience_in_the_background_counts() {
    let issuer = ScriptedProvider::new(true, true);
    let manager = issuer.manager().build().expect("as scripted");
    get(&manager).await.expect("as scripted");
    issuer.refresh((0..99).map(|_| Step::Err(busy())));
    issuer.clock.advance(Duration::from_secs(3400));
    get(&manager).await.expect("as scripted");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let mut without = 0;
    for _ in 0..2000 {
        if get(&manager).await.is_err() {
            without += 1;
        }
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        issuer.clock.advance(Duration::from_secs(1));
    }
    assert!(
        without <= 300,
        "{without} s without a token; sent {} fetched {}",
        issuer.sent().len(),
        issuer.fetched()
    );
}

/// Fault: within the advisory window a rejected caller began the background flight itself and joined it.
#[tokio::test]
async fn inv23_a_rejection_within_the_advisory_window_reaches_the_full_grant() {
    for storage in STORAGES {
        let world = World::with_token(storage, true).await;
        let token = world.manager.get_token().await.expect("as scripted");
        token.mark_accepted();
        world.issuer.fail((0..99).map(|_| Failure::Error(status(503))));
        world.enter_the_advisory_window();
        let result = world.manager.refresh_rejected(&token).await.map(|t| t.map(|t| name(&t)));
        assert_eq!(result.map_err(|e| e.to_string()), Ok(Some("t2".to_owned())), "{storage:?}");
    }
}

/// The same again after each cool-down, until the token expires.
#[tokio::test]
async fn inv23_also_after_failures_in_the_background() {
    let world = World::build(Storage::None, true, |b| b.advisory_window(Duration::from_secs(1800))).await;
    let token = world.manager.get_token().await.expect("as scripted");
    token.mark_accepted();
    world.issuer.fail((0..999).map(|_| Failure::Error(status(503))));
    let left = world.manager.status().usable_for.expect("as scripted");
    world.clock.advance(left.saturating_sub(Duration::from_secs(1200)));
    let mut waited = 0;
    while world.manager.refresh_rejected(&token).await.is_err() {
        waited += 1;
        world.clock.advance(Duration::from_secs(1));
    }
    assert!(waited <= 60, "{waited} s without a token; refreshed {} times", world.issuer.sent().len());
}

/// After a restart without a storage, `fetch_token` sends what the user has persisted.
#[tokio::test]
async fn inv23_a_dead_refresh_token_needs_a_login_also_in_the_first_fetch() {
    for (full, code, needs_login) in
        [(false, "invalid_grant", true), (false, "invalid_client", false), (true, "invalid_grant", false)]
    {
        let issuer = ScriptedProvider::new(full, true);
        issuer.fetch([Step::Err(error(Kind::Refused(code.into()), Some(400)))]);
        let manager = issuer.manager().build().expect("a manager");
        let error = get(&manager).await.expect_err("as scripted");
        assert_eq!(error.needs_login(), needs_login, "full grant: {full}, {code}: {error}");
    }
}
