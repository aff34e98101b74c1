//! Shares tokens with Python in one Redis, in both directions, with redis-py and requestforge 1.0.0. The Python
//! side uses the `RedisTokenStorage` of the documents without a change, or the storage that MIGRATING.md
//! describes.

#![allow(clippy::expect_used)]

use std::env;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use forge_tests::{AuthorizationServer, RedisServer};
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::testing::storage_conformance::sample_tokens;
use requestforge::{
    ClientCredentialsTokenProvider, Credential, RedisTokenStorage, TokenData, TokenManager, TokenStorage,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// The storage of a Python program, and where the program runs.
#[derive(Clone, Copy, Debug)]
enum Side {
    /// The documents' class, in UTC. In other time zones the class itself is wrong: it reads the record's time as
    /// local time.
    Document,
    /// The class of MIGRATING.md, in this time zone.
    Shared(&'static str),
}

/// UTC, and one time zone to each side of it. The zones are written as rules, so the machine needs no zone
/// database.
const SIDES: [Side; 4] =
    [Side::Document, Side::Shared("UTC"), Side::Shared("CET-1CEST"), Side::Shared("EST5EDT")];

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Shared(_) => "shared",
        }
    }

    fn time_zone(self) -> &'static str {
        match self {
            Self::Document => "UTC",
            Self::Shared(time_zone) => time_zone,
        }
    }

    /// The part of a token that this side stores and returns.
    fn seen(self, token: &TokenData) -> TokenData {
        match self {
            Self::Document => token.clone(),
            Self::Shared(_) => token.clone().without_refresh_token(),
        }
    }
}

/// A Python program. It ends when its standard input is closed.
struct Python {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Python {
    fn start(redis: &RedisServer, side: Side) -> Self {
        let python = env::var_os("FORGE_INTEROP_PYTHON")
            .expect("FORGE_INTEROP_PYTHON names a Python with the packages; `cargo xtask test` sets it up");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/driver.py");
        let mut child = Command::new(python)
            .arg("-B")
            .arg(driver)
            .arg(redis.port().to_string())
            .arg(side.name())
            .env("TZ", side.time_zone())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python starts");
        let commands = child.stdin.take().expect("a pipe");
        let answers = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { _child: child, commands, answers }
    }

    async fn ask(&mut self, command: Value) -> Value {
        self.ask_in_words(&command.to_string()).await
    }

    async fn ask_in_words(&mut self, command: &str) -> Value {
        self.commands.write_all(format!("{command}\n").as_bytes()).await.expect("it listens");
        let line = timeout(Duration::from_secs(30), self.answers.next_line()).await;
        let line = line.expect("an answer in time").expect("a line").expect("it is still there");
        let mut answer: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(answer.get("error"), None, "{command}");
        answer["ok"].take()
    }

    async fn get(&mut self, key: &str) -> Value {
        self.ask(json!({"do": "get", "key": key})).await
    }

    async fn set(&mut self, key: &str, token: Value) {
        self.ask(json!({"do": "set", "key": key, "token": token})).await;
    }

    async fn delete(&mut self, key: &str) {
        self.ask(json!({"do": "delete", "key": key})).await;
    }

    /// The access token of a Python manager, with client credentials.
    async fn token(&mut self, issuer: &AuthorizationServer) -> String {
        let provider = json!({
            "token_url": issuer.token_url(),
            "client_id": issuer.client_id(),
            "client_secret": issuer.client_secret(),
            "service_name": "crm",
        });
        let token = self.ask(json!({"do": "token", "provider": provider})).await;
        token.as_str().expect("a token").to_owned()
    }
}

fn storage(redis: &RedisServer) -> RedisTokenStorageBuilder {
    RedisTokenStorage::builder(redis.url()).command_timeout(Duration::from_secs(5))
}

/// Tokens with the odd values that Python and JSON know.
fn tokens() -> Vec<TokenData> {
    let extra = json!({
        "id_token": "abc", "ünïcode ☃ 🦀": "\u{1F980}\u{7f}\u{0}\n\t\"\\/",
        "nested": {"list": [1, -2.5, 1e100, null, true, {"deep": {"er": []}}], "": ""},
        "large": 9_007_199_254_740_993_i64, "larger": u64::MAX,
    });
    let whole = TokenData::new("t")
        .with_refresh_token("r")
        .with_scope("read write")
        .with_token_type("Custom")
        .with_extra(extra.as_object().expect("an object").clone());
    let in_an_hour = (Utc::now() + TimeDelta::hours(1)).trunc_subsecs(6);
    let mut tokens = sample_tokens();
    tokens.extend([
        whole.clone(),
        whole.with_expires_at(in_an_hour),
        TokenData::new("a whole second").with_expires_at(in_an_hour.trunc_subsecs(0)),
        TokenData::new("expired").with_expires_at(in_an_hour - TimeDelta::hours(2)),
        TokenData::new("refreshable").with_expires_at(in_an_hour).with_refresh_token("r"),
    ]);
    tokens
}

/// The six fields, in Python's form.
fn fields(token: &TokenData) -> Value {
    let last = DateTime::parse_from_rfc3339("9999-12-31T23:59:59.999999Z").expect("a date");
    let naive = |at: DateTime<Utc>| at.min(last.to_utc()).format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
    json!({
        "access_token": token.access_token(),
        "token_type": token.token_type(),
        "expires_at": token.expires_at().map(naive),
        "refresh_token": token.refresh_token(),
        "scope": token.scope(),
        "extra": token.extra(),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rust_writes_python_reads() {
    let redis = RedisServer::start().await;
    let storage = storage(&redis).build().expect("a storage");
    for side in SIDES {
        let mut python = Python::start(&redis, side);
        for token in tokens() {
            storage.set("crm", &token).await.expect("an answer");
            let mut read = python.get("crm").await;
            let is_expired = read.as_object_mut().expect("a token").remove("is_expired").expect("a verdict");
            assert_eq!(read, fields(&side.seen(&token)), "{side:?}");
            assert_eq!(is_expired, token.is_expired(), "{side:?}");
            let exists = python.ask(json!({"do": "exists", "key": "crm"})).await;
            assert!(exists == 1 || exists == true, "{exists}");
        }
        python.delete("crm").await;
        assert_eq!(storage.get("crm").await.expect("an answer"), None);
        assert_eq!(python.get("crm").await, Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_python_writes_rust_reads() {
    let redis = RedisServer::start().await;
    let storage = storage(&redis).build().expect("a storage");
    for side in SIDES {
        let mut python = Python::start(&redis, side);
        for token in tokens() {
            python.set("crm", fields(&token)).await;
            let read = storage.get("crm").await.expect("an answer").expect("a token");
            assert_eq!(fields(&read), fields(&side.seen(&token)), "{side:?}");
            assert_eq!(read.is_expired(), token.is_expired(), "{side:?}");

            // Python reads the same token when Rust has stored it.
            storage.set("again", &read).await.expect("an answer");
            assert_eq!(python.get("again").await, python.get("crm").await, "{side:?}");
        }
        storage.delete("crm").await.expect("an answer");
        assert_eq!(python.get("crm").await, Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_both_languages_use_one_token_in_any_time_zone() {
    for side in SIDES {
        let redis = RedisServer::start().await;
        let mut fleet = fleet(&redis, side).await;
        let ours = fleet.token().await;
        assert_eq!(fleet.python.token(&fleet.issuer).await, ours.access_token(), "{side:?}");
        assert_eq!(fleet.issuer.token_calls(), 1, "{side:?}: Python uses the token that Rust fetched");

        fleet.python.delete(KEY).await;
        let theirs = fleet.python.token(&fleet.issuer).await;
        assert_eq!(
            fleet.python.token(&fleet.issuer).await,
            theirs,
            "{side:?}: Python uses the token that Python fetched"
        );
        assert_eq!(
            fleet.other_than(&ours).await.access_token(),
            theirs,
            "{side:?}: Rust uses the token that Python fetched"
        );
        assert_eq!(fleet.issuer.token_calls(), 2, "{side:?}");
    }
}

/// Python does not know the marks on refresh tokens, so it would send one that Rust is sending. The
/// issuer would take the second use for theft.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv05_python_neither_reads_nor_stores_a_refresh_token_with_the_storage_of_migrating_md() {
    let redis = RedisServer::start().await;
    let storage = storage(&redis).build().expect("a storage");
    let mut python = Python::start(&redis, Side::Shared("EST5EDT"));
    let token = TokenData::new("t").with_refresh_token("r").with_expires_in(Duration::from_secs(3600));
    storage.set(KEY, &token).await.expect("an answer");
    assert_eq!(python.get(KEY).await["refresh_token"], Value::Null);
    python.set(KEY, fields(&token)).await;
    let read = storage.get(KEY).await.expect("an answer").expect("a token");
    assert_eq!((read.access_token(), read.refresh_token()), ("t", None));
}

#[test]
fn migrating_md_shows_the_tested_storage() {
    let page = include_str!("../../MIGRATING.md");
    let storage = include_str!("../interop/shared_storage.py");
    assert!(
        page.contains(&format!("```python\n{storage}```\n")),
        "MIGRATING.md and shared_storage.py differ"
    );
}

struct Fleet {
    issuer: AuthorizationServer,
    python: Python,
    manager: TokenManager,
}

/// A Rust program, which looks again after 400 ms, and one in Python.
async fn fleet(redis: &RedisServer, side: Side) -> Fleet {
    let issuer = AuthorizationServer::start().await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        issuer.token_url(),
        issuer.client_id(),
        issuer.client_secret(),
    );
    let storage = storage(redis).recheck_after(RECHECK_AFTER).build().expect("a storage");
    let manager = TokenManager::builder(provider.service_name("crm").build().expect("a provider"));
    let manager = manager.storage(storage).cache_key(KEY).build().expect("a manager");
    Fleet { issuer, python: Python::start(redis, side), manager }
}

/// The key under which a Python manager stores the tokens of the service `crm`.
const KEY: &str = "auth_token:crm";

const RECHECK_AFTER: Duration = Duration::from_millis(400);

impl Fleet {
    async fn token(&self) -> Arc<Credential> {
        self.manager.get_token().await.expect("a token")
    }

    /// Waits until the token in use is not this one.
    async fn other_than(&self, before: &Credential) -> Arc<Credential> {
        let begun = Instant::now();
        loop {
            let token = self.token().await;
            if token.id() != before.id() {
                println!("noticed after {:?}", begun.elapsed());
                return token;
            }
            let limit = RECHECK_AFTER.mul_f64(1.25) + Duration::from_secs(1);
            assert!(begun.elapsed() < limit, "what Python did is not noticed");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv19_what_python_stores_replaces_and_deletes_is_noticed() {
    let redis = RedisServer::start().await;
    let mut fleet = fleet(&redis, Side::Document).await;
    let key = KEY;
    let in_an_hour = Utc::now() + TimeDelta::hours(1);
    let of_python = |name: &str| fields(&TokenData::new(name).with_expires_at(in_an_hour));

    fleet.python.set(key, of_python("first")).await;
    let first = fleet.token().await;
    assert_eq!(first.token().access_token(), "first", "a token that Python has stored is used");
    assert_eq!(fleet.issuer.token_calls(), 0);

    fleet.python.set(key, of_python("second")).await;
    let second = fleet.other_than(&first).await;
    assert_eq!(second.token().access_token(), "second");
    assert_eq!(fleet.issuer.token_calls(), 0);

    fleet.python.delete(key).await;
    let third = fleet.other_than(&second).await;
    assert_eq!(fleet.issuer.token_calls(), 1);
    let read = fleet.python.get(key).await;
    assert_eq!(read["access_token"], third.token().access_token(), "what Rust has fetched Python uses");
    assert_eq!(read["is_expired"], false);

    fleet.manager.invalidate_token().await.expect("an answer");
    assert_eq!(fleet.python.get(key).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv20_what_only_python_takes_for_json_is_a_miss() {
    let redis = RedisServer::start().await;
    let mut fleet = fleet(&redis, Side::Document).await;
    let key = KEY;
    // Python reads a number that is too large as infinity, and writes infinity. It takes half a surrogate
    // pair for text.
    let large = r#"{"do":"set","key":"auth_token:crm","token":{"access_token":"t","extra":{"x":1e999}}}"#;
    fleet.python.ask_in_words(large).await;
    let fetched = fleet.token().await;
    assert_eq!(fleet.issuer.token_calls(), 1);
    assert_eq!(fleet.python.get(key).await["access_token"], fetched.token().access_token(), "and healed");

    fleet.manager.invalidate_token().await.expect("an answer");
    let half = r#"{"do":"set","key":"auth_token:crm","token":{"access_token":"t","scope":"\ud800"}}"#;
    fleet.python.ask_in_words(half).await;
    fleet.token().await;
    assert_eq!(fleet.issuer.token_calls(), 2);
}
