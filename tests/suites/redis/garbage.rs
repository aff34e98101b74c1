//! A value that is not a token is a miss. The log tells it once and without its content, and the next set
//! heals it (invariant 20).

use std::time::Duration;

use requestforge::redis::{Cmd, cmd};
use requestforge::{TokenData, TokenStorage};

use crate::logs;
use crate::world::World;

/// A text in every value that is not a token.
const CANARY: &str = "canary-8c1f5e";

fn garbage(key: &str) -> Vec<(&'static str, Cmd)> {
    let set = |value: Vec<u8>| cmd("SET").arg(key).arg(value).clone();
    let text = |value: &str| set(value.replace("CANARY", CANARY).into_bytes());
    let pushed = |kind: &str, words: &[&str]| cmd(kind).arg(key).arg(words).clone();
    vec![
        ("truncated", text(r#"{"access_token":"CANARY","token_type":"Bea"#)),
        ("a JSON list", text(r#"["CANARY"]"#)),
        ("a JSON string", text(r#""CANARY""#)),
        ("a number", text("17")),
        ("null", text("null")),
        ("nothing", text("")),
        ("an object of something else", text(r#"{"spent":"CANARY"}"#)),
        ("a token that is a number", text(r#"{"access_token":7,"scope":"CANARY"}"#)),
        ("an empty token", text(r#"{"access_token":"","scope":"CANARY"}"#)),
        ("a date that is none", text(r#"{"access_token":"CANARY","expires_at":"CANARY"}"#)),
        ("a date that is a number", text(r#"{"access_token":"CANARY","expires_at":1763726400}"#)),
        ("two tokens", text(r#"{"access_token":"CANARY","access_token":"CANARY"}"#)),
        ("NaN", text(r#"{"access_token":"CANARY","extra":{"x":NaN}}"#)),
        ("Infinity", text(r#"{"access_token":"CANARY","extra":{"x":-Infinity}}"#)),
        ("a huge number", text(r#"{"access_token":"CANARY","extra":{"x":1e999}}"#)),
        ("a lone surrogate", text(r#"{"access_token":"CANARY","scope":"\ud800"}"#)),
        ("a lone surrogate deep down", text(r#"{"access_token":"CANARY","extra":{"\udfff":1}}"#)),
        ("no UTF-8", set([CANARY.as_bytes(), b"\xff\xfe\x00"].concat())),
        ("100,000 brackets", set(vec![b'['; 100_000])),
        (
            "100,000 brackets in a token",
            set([&br#"{"access_token":"t","extra":{"x":"#[..], &[b'['; 100_000]].concat()),
        ),
        ("10 MiB", set(CANARY.as_bytes().repeat(10 * 1024 * 1024 / CANARY.len()))),
        (
            "10 MiB of a token",
            set([&br#"{"access_token":""#[..], &vec![b'x'; 10 * 1024 * 1024], br#""}"#].concat()),
        ),
        ("a list", pushed("RPUSH", &[CANARY, CANARY])),
        ("a set", pushed("SADD", &[CANARY])),
        ("a hash", pushed("HSET", &["access_token", CANARY])),
        ("a sorted set", pushed("ZADD", &["1", CANARY])),
        ("a stream", pushed("XADD", &["*", "access_token", CANARY])),
    ]
}

fn warnings(key: &str) -> usize {
    let named = format!("key=token:{key} ");
    logs::times(|line| line.level == "WARN" && line.text.contains(&named))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv20_what_is_no_token_is_a_miss_that_is_told_once_and_healed() {
    logs::keep();
    let world = World::start().await;
    let storage = world.storage();
    for (number, (name, _)) in garbage("").into_iter().enumerate() {
        let key = format!("garbage-{number}");
        let (_, command) = garbage(&format!("token:{key}")).swap_remove(number);
        world.run::<()>(&command).await;
        for _ in 0..3 {
            assert_eq!(storage.get(&key).await.expect(name), None, "{name}");
            assert!(!storage.exists(&key).await.expect(name), "{name}");
        }
        assert_eq!(warnings(&key), 1, "{name}");
        let comparing = storage.compare_and_delete().expect("it can");
        assert!(!comparing.delete_if(&key, TokenData::new("t").id()).await.expect(name), "{name}");

        let token = TokenData::new("healed").with_expires_in(Duration::from_secs(3_600));
        storage.set(&key, &token).await.expect(name);
        let read = storage.get(&key).await.expect(name).expect(name);
        assert_eq!(read.access_token(), "healed", "{name}");

        // Another process reports the same value again, and a caller can delete it.
        world.run::<()>(cmd("DEL").arg(format!("token:{key}"))).await;
        world.run::<()>(&command).await;
        assert_eq!(world.storage().get(&key).await.expect(name), None, "{name}");
        assert_eq!(warnings(&key), 2, "{name}");
        storage.delete(&key).await.expect(name);
        assert_eq!(world.run::<u8>(cmd("EXISTS").arg(format!("token:{key}"))).await, 0, "{name}");
    }
    assert_silent();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv20_a_manager_fetches_once_and_mends_it() {
    logs::keep();
    let world = World::start().await;
    for (number, (name, _)) in garbage("").into_iter().enumerate() {
        let key = format!("managed-{number}");
        let (_, command) = garbage(&format!("token:{key}")).swap_remove(number);
        world.run::<()>(&command).await;
        let managers = [world.manager(&key, world.storage()), world.manager(&key, world.storage())];
        let [first, second] = &managers;
        let (first, second) = tokio::join!(first.get_token(), second.get_token());
        assert_eq!(first.expect(name).id(), second.expect(name).id(), "{name}");
        assert_eq!(world.issuer.token_calls(), number + 1, "{name}");
        assert!((1..=2).contains(&warnings(&key)), "{name}: once for each process that saw it");
        world.manager(&key, world.storage()).get_token().await.expect(name);
        assert_eq!(world.issuer.token_calls(), number + 1, "{name}");
    }
    assert_silent();
}

fn assert_silent() {
    for line in logs::lines().into_iter().filter(|line| line.target.starts_with("forge_")) {
        assert!(!line.text.contains(CANARY), "{line:?}");
    }
}
