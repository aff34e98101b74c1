//! One server, and its cost of each situation.

use std::time::Duration;

use forge_tests::{AuthorizationServer, RedisServer, undisturbed};
use requestforge::redis::cmd;
use requestforge::{RedisTokenStorage, TokenData, TokenStorage};
use tokio::time::sleep;

use crate::alone;
use crate::counts::Counter;
use crate::fleet::{Fleet, KEY, LIFE, MANY, Replica, patient, sow, until};
use crate::table::Table;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_one_replica_costs_what_is_documented() {
    undisturbed(|| costs(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_five_hundred_replicas_cost_what_is_documented() {
    undisturbed(|| costs(MANY)).await;
}

/// The duration of a token call. All replicas that need the token wait for it.
const CALL: Duration = Duration::from_millis(700);

async fn costs(size: usize) {
    let (redis, issuer) = (RedisServer::start().await, AuthorizationServer::start().await.expect("a server"));
    let _alone = alone().await;
    issuer.set_lifetime(Some(LIFE));
    let server = Counter::of(&redis.url()).await;
    let storage = || patient(RedisTokenStorage::builder(redis.url()));
    let fleet = Fleet::of(size, &issuer, storage);
    let (all, others) = (size as u64, size as u64 - 1);
    let mut table = Table::new(format!("Standalone, {size} replicas (recheck_after 10 s)"));

    sow(&issuer, storage()).await;
    until("nobody is connected", async || server.connected().await == 0).await;
    let (start, ()) = server.spent_on(fleet.start()).await;
    let start = start.reading();
    let note = format!("each {}; {} refused besides", start.kinds(all), start.refused);
    table.add("start: connecting and the first read", size, &start, note);
    assert_eq!(issuer.token_calls(), 1);
    assert_eq!((start.connections, server.connected().await as u64), (all, all));
    assert_eq!((start.of("evalsha"), start.of("subscribe")), (all, all));
    assert!(start.sent() <= 16 * all, "{start:?}");
    table.say("connections", server.connected().await.to_string());

    let (rest, ()) = server.spent_on(sleep(Duration::from_secs(3))).await;
    table.add("at rest, not used, 3 s", size, &rest, format!("{} PING besides", rest.of("ping")));
    assert_eq!((rest.besides_beats(), rest.connections), (0, 0), "{rest:?}");
    assert!(rest.of("ping") <= 3 * all, "{rest:?}");

    let hits = async {
        for replica in &fleet.replicas {
            for _ in 0..100 {
                replica.token().await;
            }
        }
    };
    let (hits, ()) = server.spent_on(hits).await;
    table.add("100 hits each", size, &hits, "");
    assert_eq!((hits.besides_beats(), issuer.token_calls()), (0, 1), "{hits:?}");

    fleet.advance(Duration::from_millis(9_900));
    let (early, _) = server.spent_on(fleet.use_token()).await;
    fleet.advance(Duration::from_millis(2_600));
    let (recheck, _) = server.spent_on(fleet.use_token()).await;
    table.add("in use, 12.5 s", size, &recheck, "none in the first 9.9 s");
    assert_eq!((early.sent(), recheck.sent(), issuer.token_calls()), (0, all, 1));

    // Rotation: one replica is the first in its advisory window.
    fleet.advance(Duration::from_millis(27_500));
    server.spent_on(fleet.use_token()).await;
    let first = &fleet.replicas[0];
    let old = first.token().await;
    first.clock.advance(Duration::from_secs(18));
    let renewal = async {
        first.token().await;
        until("it is renewed", async || first.token().await.id() != old.id()).await;
    };
    let (renewal, ()) = server.spent_on(renewal).await;
    until("all have heard of it", async || fleet.replicas[1..].iter().all(Replica::has_none)).await;
    let (adoption, tokens) = server.spent_on(fleet.use_token()).await;
    table.add("rotation, who renews", 1, &renewal, "");
    table.add("rotation, the others", size - 1, &adoption, "at their next use");
    assert_eq!((tokens, issuer.token_calls()), (1, 2));
    assert_eq!((renewal.sent(), adoption.sent()), (3, others));

    // All replicas notice at the same time.
    let second = first.token().await.id();
    issuer.set_delay(CALL);
    fleet.advance(Duration::from_secs(57));
    let at_once = async {
        fleet.use_token().await;
        let is_new = |replica: &Replica| replica.manager.cached().is_some_and(|token| token.id() != second);
        until("all have a new one", async || fleet.replicas.iter().all(is_new)).await;
    };
    let (at_once, ()) = server.spent_on(at_once).await;
    table.add("rotation, all notice at once", size, &at_once, format!("token call of {CALL:?}"));
    assert_eq!(issuer.token_calls(), 3);
    assert!((all..=3 * all).contains(&at_once.sent()), "{at_once:?}");

    // Invalidation.
    issuer.set_delay(Duration::ZERO);
    let (said, done) = server.spent_on(first.manager.invalidate_token()).await;
    done.expect("an answer");
    table.add("invalidation, who says it", 1, &said, "");
    let (fetch, _) = server.spent_on(first.token()).await;
    table.add("invalidation, who fetches", 1, &fetch, "");
    until("all have heard of it", async || fleet.replicas[1..].iter().all(Replica::has_none)).await;
    let (adoption, tokens) = server.spent_on(fleet.use_token()).await;
    table.add("invalidation, the others", size - 1, &adoption, "at their next use");
    assert_eq!((tokens, issuer.token_calls()), (1, 4));
    assert_eq!((said.sent(), fetch.sent(), adoption.sent()), (1, 3, others));

    // A cold start, or all replicas use the token right after an invalidation.
    issuer.set_delay(CALL);
    first.manager.invalidate_token().await.expect("an answer");
    until("all have heard of it", async || fleet.replicas[1..].iter().all(Replica::has_none)).await;
    let (cold, tokens) = server.spent_on(fleet.use_token()).await;
    table.add("no token, all at once", size, &cold, format!("token call of {CALL:?}"));
    assert_eq!((tokens, issuer.token_calls()), (1, 5));
    assert!(cold.sent() <= 3 * all, "{cold:?}");

    let token = fleet.replicas[0].storage.get(KEY).await.expect("an answer").expect("a token");
    let long = TokenData::new("x".repeat(1_000)).with_expires_at(token.expires_at().expect("an expiry"));
    for (name, token) in [("of this server", token), ("of 1,000 characters", long)] {
        fleet.replicas[0].storage.set("long", &token).await.expect("an answer");
        let mut bytes = Vec::new();
        for key in ["token:long", "{token:long}:meta"] {
            bytes.push(server.run::<u64>(cmd("MEMORY").arg("USAGE").arg(key)).await);
        }
        let length = token.access_token().len();
        table.say("memory of a token", format!("{name} ({length}): {} + {} bytes", bytes[0], bytes[1]));
        assert!(bytes.iter().sum::<u64>() <= 2 * length as u64 + 1_000, "{bytes:?}");
    }
    table.print();
}
