//! The side data of a token is about that token, or it is void.

use std::time::Duration;

use chrono::{SubsecRound, TimeDelta, Utc};
use requestforge::redis::cmd;
use requestforge::storage::{CoolDownPolicy, LeaseOutcome, MarkTakeover, RefreshMark};
use requestforge::{TokenData, TokenStorage};

use crate::world::World;

const META: &str = "{token:crm}:meta";

fn issued_before() -> TokenData {
    let issued_at = (Utc::now() - TimeDelta::minutes(20)).trunc_subsecs(3);
    let expires_at = (Utc::now() + TimeDelta::hours(1)).trunc_subsecs(6);
    TokenData::new("t").with_expires_at(expires_at).with_issued_at(issued_at)
}

#[tokio::test]
async fn inv20_side_data_counts_only_for_the_record_it_names() {
    let world = World::start().await;
    let storage = world.storage();
    let token = issued_before();
    storage.set("crm", &token).await.expect("an answer");
    let read = || async { storage.get("crm").await.expect("an answer").expect("a token") };
    assert_eq!(read().await.issued_at(), token.issued_at());

    // A program that knows nothing of side data replaces the record.
    world.put("token:crm", r#"{"access_token":"another"}"#).await;
    assert_eq!(read().await.access_token(), "another");
    assert_eq!(read().await.issued_at(), None);

    // Side data of another key.
    storage.set("crm", &token).await.expect("an answer");
    storage.set("other", &issued_before()).await.expect("an answer");
    // The test does not use COPY, because a cluster may have the two keys at different masters.
    let foreign: Vec<u8> = world.run(cmd("DUMP").arg("{token:other}:meta")).await;
    world.run::<()>(cmd("RESTORE").arg(META).arg(0).arg(foreign).arg("REPLACE")).await;
    assert_eq!(read().await, token, "the record itself stands");
    assert_eq!(read().await.issued_at(), None);

    storage.set("crm", &token).await.expect("an answer");
    assert_eq!(read().await.issued_at(), token.issued_at(), "healed by the next set");
}

#[tokio::test]
async fn inv20_side_keys_of_any_other_type_do_no_harm() {
    let world = World::start().await;
    let storage = world.storage();
    for side in ["meta", "cool-down"] {
        for (number, (name, _)) in strange_values("").into_iter().enumerate() {
            let key = format!("{side} {number}");
            let (_, command) = strange_values(&format!("{{token:{key}}}:{side}")).swap_remove(number);
            let calls = world.issuer.token_calls();
            world.run::<()>(&command).await;
            let manager = world.manager(&key, storage.clone());
            let fetched = manager.get_token().await.expect("a token");
            let stored = storage.get(&key).await.expect("an answer").expect("a token");
            assert_eq!(stored.id(), fetched.id(), "{name} as {side}");
            assert!(stored.issued_at().is_some(), "{name} as {side} is not replaced");

            // Marks and cool-downs work again, too.
            world.run::<()>(cmd("DEL").arg(format!("{{token:{key}}}:{side}"))).await;
            world.run::<()>(&command).await;
            let mut lease = storage.leases().expect("leases").lease(&key);
            assert!(
                matches!(lease.acquire(CoolDownPolicy::Respect).await, Ok(LeaseOutcome::Held { .. })),
                "{name} as {side}"
            );
            lease.clear_mark(stored.id()).await.expect("an answer");
            assert_eq!(
                lease.mark_refresh_token(stored.id(), MarkTakeover::Never).await.expect("an answer"),
                RefreshMark::Ours
            );
            storage.delete(&key).await.expect("an answer");
            assert_eq!(world.issuer.token_calls(), calls + 1);
        }
    }
}

fn strange_values(key: &str) -> Vec<(&'static str, requestforge::redis::Cmd)> {
    let command = |words: &[&str]| {
        let mut command = cmd(words[0]);
        command.arg(key);
        for word in &words[1..] {
            command.arg(*word);
        }
        command
    };
    vec![
        ("text", command(&["SET", "garbage"])),
        ("a list", command(&["RPUSH", "a", "b"])),
        ("a set", command(&["SADD", "a", "b"])),
        ("a hash of nothing known", command(&["HSET", "a", "b"])),
        ("a hash of nonsense", command(&["HSET", "until", "soon", "failures", "many", "status", "bad"])),
        ("a hash of no numbers", command(&["HSET", "until", "nan", "failures", "inf", "status", "1e400"])),
        ("a hash of odd numbers", command(&["HSET", "until", "0x10", "failures", "-1", "status", "1.5"])),
        ("an empty digest", command(&["HSET", "digest", "", "issued_at", "x", "spent", "", "by", ""])),
    ]
}

#[tokio::test]
async fn inv08_a_shared_cool_down_ends_some_day_whatever_stands_there() {
    let world = World::start().await;
    for until in ["9000000000000000", "inf", "1e300"] {
        let fields = [("until", until), ("failures", "1"), ("status", "503")];
        world.set_fields(&format!("{{token:{until}}}:cool-down"), &fields).await;
        let manager = world.manager(until, world.storage());
        let outcome = manager.get_token().await;
        let left = manager.status().cool_down.unwrap_or_default();
        println!("until {until}: {} for {left:?}", if outcome.is_ok() { "a token" } else { "cooling down" });
        assert!(left <= Duration::from_secs(3_600), "until {until}: nothing is tried for {left:?}");
    }
}

#[tokio::test]
async fn inv04_a_lease_that_never_ends_holds_nobody_up() {
    let world = World::start().await;
    let storage = world.storage();
    for kind in ["SET", "RPUSH"] {
        world.run::<()>(cmd(kind).arg(format!("{{token:{kind}}}:lease")).arg("garbage")).await;
        let manager = world.manager(kind, storage.clone());
        let fetching = tokio::time::timeout(Duration::from_secs(6), manager.get_token());
        let fetched = fetching.await.expect("no longer than a lease and a second").expect("a token");
        let stored = storage.get(kind).await.expect("an answer").map(|token| token.id());
        assert_eq!(stored, Some(fetched.id()), "others don't find the token");
    }
}
