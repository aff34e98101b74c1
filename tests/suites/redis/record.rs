//! The record in Redis, byte by byte.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use requestforge::redis::cmd;
use requestforge::storage::{CoolDown, CoolDownPolicy};
use requestforge::{TokenData, TokenStorage};
use serde_json::{Value, json};

use crate::world::World;

const DAY: i64 = 24 * 3_600;

fn moment(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a date").with_timezone(&Utc)
}

fn in_seconds(seconds: i64) -> DateTime<Utc> {
    Utc::now() + chrono::TimeDelta::seconds(seconds)
}

fn with_extra(token: TokenData, extra: &Value) -> TokenData {
    token.with_extra(extra.as_object().expect("an object").clone())
}

#[tokio::test]
async fn the_record_is_that_of_the_documents_byte_by_byte() {
    let world = World::start().await;
    let storage = world.storage();
    let at = moment("2096-11-21T23:02:08.592503Z");
    let token = TokenData::new("abc").with_expires_at(at);
    storage.set("crm", &token).await.expect("an answer");
    let expected = r#"{"access_token":"abc","token_type":"Bearer","expires_at":"2096-11-21T23:02:08.592503","refresh_token":null,"scope":null,"extra":{}}"#;
    assert_eq!(world.raw("token:crm").await.as_deref(), Some(expected));

    let token = TokenData::new("a").with_refresh_token("r").with_scope("s t").with_token_type("MAC");
    let token =
        with_extra(token.with_expires_at(moment("2096-01-02T03:04:05Z")), &json!({"x": [1, null, "é"]}));
    storage.set("crm", &token).await.expect("an answer");
    let expected = r#"{"access_token":"a","token_type":"MAC","expires_at":"2096-01-02T03:04:05.000000","refresh_token":"r","scope":"s t","extra":{"x":[1,null,"é"]}}"#;
    assert_eq!(world.raw("token:crm").await.as_deref(), Some(expected));

    storage.set("crm", &TokenData::new("for ever")).await.expect("an answer");
    let expected = r#"{"access_token":"for ever","token_type":"Bearer","expires_at":null,"refresh_token":null,"scope":null,"extra":{}}"#;
    assert_eq!(world.raw("token:crm").await.as_deref(), Some(expected));

    let far = TokenData::new("far").with_expires_at(DateTime::<Utc>::MAX_UTC);
    storage.set("crm", &far).await.expect("an answer");
    let record: Value = serde_json::from_str(&world.raw("token:crm").await.expect("a record")).expect("JSON");
    assert_eq!(record["expires_at"], "9999-12-31T23:59:59.999999", "the last that Python knows");
}

#[tokio::test]
async fn inv09_a_record_is_kept_as_long_as_anything_in_it_is_of_use() {
    let world = World::start().await;
    let storage = world.storage();
    let refreshable = || TokenData::new("t").with_refresh_token("r");
    let stated = |seconds: i64| with_extra(refreshable(), &json!({ "refresh_expires_in": seconds }));
    let cases = [
        ("an hour", TokenData::new("t").with_expires_at(in_seconds(3_600)), 3_600),
        ("at least a minute", TokenData::new("t").with_expires_at(in_seconds(10)), 60),
        ("also when expired", TokenData::new("t").with_expires_at(in_seconds(-3_600)), 60),
        ("without expiry", TokenData::new("t"), -1),
        ("30 days for a refresh token", refreshable().with_expires_at(in_seconds(3_600)), 30 * DAY),
        ("as stated", stated(7_200).with_expires_at(in_seconds(60)), 7_200),
        ("the longer life", stated(60).with_expires_at(in_seconds(7_200)), 7_200),
        ("a refresh token without expiry", refreshable(), -1),
    ];
    for (name, token, seconds) in cases {
        storage.set("crm", &token).await.expect("an answer");
        for key in ["token:crm", "{token:crm}:meta"] {
            let left = world.run::<i64>(cmd("TTL").arg(key)).await;
            assert!((seconds - 3..=seconds).contains(&left), "{name}: {key} is kept for {left} s");
        }
    }
    // The record that replaces it has an expiry of its own.
    storage.set("crm", &TokenData::new("t")).await.expect("an answer");
    assert_eq!(world.run::<i64>(cmd("TTL").arg("token:crm")).await, -1);
}

#[tokio::test]
async fn the_keys_are_those_of_the_documents_and_share_a_slot() {
    let world = World::start().await;
    let storage = world.storage();
    let leases = storage.leases().expect("leases");
    storage.set("a:b c", &TokenData::new("t")).await.expect("an answer");
    let mut failing = leases.lease("a:b c");
    failing.acquire(CoolDownPolicy::Respect).await.expect("an answer");
    failing.fail(&CoolDown::new(Duration::from_secs(60), 1)).await.expect("an answer");
    let mut lease = leases.lease("a:b c");
    lease.acquire(CoolDownPolicy::Ignore).await.expect("an answer");

    let keys: BTreeSet<String> = world.run(cmd("KEYS").arg("*")).await;
    let expected = ["token:a:b c", "{token:a:b c}:meta", "{token:a:b c}:lease", "{token:a:b c}:cool-down"];
    assert_eq!(keys, expected.map(str::to_owned).into());

    let prefixed = world.builder().key_prefix("my app");
    let prefixed = prefixed.build().expect("a storage");
    prefixed.set("k", &TokenData::new("t")).await.expect("an answer");
    assert!(world.raw("my app:k").await.is_some());
    assert_eq!(storage.get("k").await.expect("an answer"), None);
}

#[tokio::test]
async fn inv20_records_of_others_are_read() {
    let world = World::start().await;
    let storage = world.storage();
    let noon = moment("2096-11-21T12:00:00Z");
    let dates = [
        "2096-11-21T12:00:00",
        "2096-11-21T12:00:00.000",
        "2096-11-21 12:00:00.000000",
        "2096-11-21T12:00:00Z",
        "2096-11-21T12:00:00+00:00",
        "2096-11-21T13:30:00+01:30",
        "2096-11-21T04:00:00.000000-08:00",
    ];
    for date in dates {
        world.put("token:crm", json!({"access_token": "t", "expires_at": date}).to_string()).await;
        let token = storage.get("crm").await.expect("an answer").expect(date);
        assert_eq!(token, TokenData::new("t").with_expires_at(noon), "{date}");
    }
    let null = json!({"access_token": "t", "token_type": null, "expires_at": null, "refresh_token": null,
        "scope": null, "extra": null});
    for record in [json!({"access_token": "t"}), null] {
        world.put("token:crm", record.to_string()).await;
        assert_eq!(storage.get("crm").await.expect("an answer"), Some(TokenData::new("t")));
        assert!(storage.exists("crm").await.expect("an answer"));
    }
}
