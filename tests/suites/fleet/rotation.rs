//! Refresh tokens that rotate, at django-oauth-toolkit: one that is sent twice costs its whole family. The
//! access tokens live for four seconds.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use forge_tests::fleet::{Order, Report, Request, Settings, now};
use requestforge::HttpClient;
use serde_json::Value;
use tokio::time::sleep;

use crate::member::{Fleet, ended, the_token};
use crate::redis::{PREFIX, Redis};
use crate::relay::Relay;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 8;
const TASKS: usize = 10;
const LEASE: Duration = Duration::from_secs(1);
/// The time for which a manager hands out a token: half of its life.
const USABLE: Duration = Duration::from_secs(2);

static SERVER: LazyLock<Value> = LazyLock::new(|| {
    let told = std::env::var("FORGE_DJANGO_SHORT_LIVED")
        .expect("no server is running: `cargo xtask test --suite fleet` starts it for this suite");
    serde_json::from_str(&told).expect("the server tells of itself in JSON")
});

#[tokio::test(flavor = "multi_thread")]
async fn inv05_no_refresh_token_is_sent_twice_and_no_family_revoked_however_often_tokens_expire() {
    let _alone = alone().await;
    let Scene { relay, redis, fleet } = Scene::begin().await;
    let before = Stats::read().await;
    let (key, mut times, expiries) = ("rotation".to_owned(), Times::new(), rounds(25, 3));
    let mut tokens = BTreeSet::from([the_token(&fleet.all(Request::Get, &key, TASKS).await)]);
    for round in 0..expiries {
        // No process uses the token while it expires. Then all processes ask at once.
        sleep(USABLE + Duration::from_millis(100)).await;
        let begun = Instant::now();
        tokens.insert(the_token(&fleet.all(Request::Get, &key, TASKS).await));
        times.add(begun.elapsed());
        assert_eq!(tokens.len(), round + 2, "a new token for all");
        assert_eq!(relay.refresh_tokens(), round + 1, "by one refresh");
    }
    // While the token is in use, the first process that notices renews it in the background.
    let mut longest = Duration::ZERO;
    while tokens.len() <= 2 * expiries {
        let until = now() + u64::try_from(USABLE.as_nanos()).expect("a short time");
        let used = Order::Use { key: key.clone(), tasks: 4, pause_millis: 20, until };
        for report in fleet.told(&used).await {
            let Some(Report::Outcomes(outcomes)) = report else { panic!("no outcomes: {report:?}") };
            for outcome in outcomes {
                assert!(outcome.errors.is_empty(), "{outcome:?}");
                longest = longest.max(outcome.longest);
                tokens.extend(outcome.tokens);
            }
        }
    }
    // The last token may have come after the last use.
    let refreshes = relay.refresh_tokens();
    assert!((tokens.len() - 1..=tokens.len()).contains(&refreshes), "{} tokens, {refreshes}", tokens.len());
    assert_eq!(relay.calls(), 1 + refreshes, "one full grant, at the beginning");
    let after = Stats::read().await;
    assert_eq!(after.families_revoked, before.families_revoked);
    assert_eq!(after.failed, before.failed, "no token call failed");
    println!(
        "rotation: {refreshes} refreshes for {SIZE} processes, {expiries} of them with all waiting ({times}), the \
         others in use (slowest caller {longest:.1?}); no family revoked",
    );
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv05_who_succeeds_a_holder_killed_with_its_refresh_token_sent_uses_the_full_grant() {
    let _alone = alone().await;
    let Scene { relay, redis, mut fleet } = Scene::begin().await;
    let before = Stats::read().await;
    let rounds = rounds(20, 2);
    for round in 0..rounds {
        let key = format!("killed with a refresh token {round}");
        let first = the_token(&fleet.all(Request::Get, &key, 1).await);
        let (calls, sent) = (relay.calls(), relay.refresh_tokens());
        relay.keep_back_next();
        sleep(USABLE + Duration::from_millis(100)).await;
        let begun = fleet.begin(Request::Get, &key, TASKS);
        let holder = relay.kept_back_from().await;
        fleet.members[holder].process().kill().await;
        let outcomes = ended(begun).await;
        assert_eq!(outcomes.len(), SIZE - 1);
        let second = the_token(&outcomes);
        assert_ne!(second, first);
        assert_eq!(redis.token(&key).await, Some(second));
        // The killed process has sent the refresh token, and its successor has not.
        assert_eq!((relay.calls(), relay.refresh_tokens()), (calls + 2, sent + 1));
        fleet.replace(holder).await;
    }
    let after = Stats::read().await;
    assert_eq!(after.families_revoked, before.families_revoked);
    assert_eq!(after.failed, before.failed);
    println!("rotation: {rounds} holders killed with their refresh token sent; the next used the full grant");
}

struct Scene {
    relay: Relay,
    redis: Redis,
    fleet: Fleet,
}

impl Scene {
    async fn begin() -> Self {
        let relay = Relay::start(told("/token_url")).await;
        let redis = Redis::start().await;
        let settings = Settings {
            token_url: relay.url(),
            client_id: told("/clients/password/client_id").to_owned(),
            client_secret: told("/clients/password/client_secret").to_owned(),
            user: Some((told("/user/username").to_owned(), told("/user/password").to_owned())),
            steps: false,
            mark: String::new(),
            redis: redis.topology(),
            prefix: PREFIX.to_owned(),
            lease: LEASE,
            clock_ahead: 0,
        };
        let fleet = Fleet::start(SIZE, &settings).await;
        Self { relay, redis, fleet }
    }
}

fn told(pointer: &str) -> &'static str {
    SERVER.pointer(pointer).and_then(Value::as_str).expect("the server tells of it")
}

/// The counters of the server, since its start.
struct Stats {
    families_revoked: u64,
    /// Token calls that the server refused.
    failed: u64,
}

impl Stats {
    async fn read() -> Self {
        let client = HttpClient::builder(told("/url")).build().expect("a client");
        let stats: Value = client.get("/stats").send().await.expect("an answer").json().await.expect("JSON");
        let count = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let good =
            count("/token_calls_by_grant/refresh_token/200") + count("/token_calls_by_grant/password/200");
        Self { families_revoked: count("/families_revoked"), failed: count("/token_calls") - good }
    }
}
