//! Passwords and users of the server.

use forge_tests::RedisServer;
use requestforge::redis::{Client, cmd};
use requestforge::{TokenData, TokenStorage, storage_conformance};

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::logs;
use crate::world::patient;

/// In a form that can stand in a URL.
fn encoded(text: &str) -> String {
    percent_forms(text)[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_passwords_open_the_door_and_are_seen_by_nobody() {
    logs::keep();
    let (right, wrong) = (Canary::secret("password"), Canary::secret("wrong password"));
    let redis = RedisServer::start_with(&["--requirepass", right.text()]).await;
    let storage = |password: &str| {
        let url = format!("redis://:{}@127.0.0.1:{}/0", encoded(password), redis.port());
        let builder = patient(&url);
        let shown = format!("{builder:?}{builder:#?}");
        (builder.build().expect("a storage"), shown)
    };
    let (good, shown) = storage(right.text());
    let (bad, shown_too) = storage(wrong.text());
    let mut canaries = Canaries::new([right, wrong]);
    canaries.look_at("builders", shown + &shown_too);

    good.set("crm", &TokenData::new("t")).await.expect("an answer");
    assert!(good.exists("crm").await.expect("an answer"));
    let none = patient(&redis.url()).build().expect("a storage");
    for storage in [&bad, &none] {
        for _ in 0..2 {
            let error = storage.get("crm").await.expect_err("no login");
            assert!(error.to_string().contains("refused the login"), "{error}");
            canaries.look_at_error("wrong password", &error);
        }
        let mut lease = storage.leases().expect("leases").lease("crm");
        canaries.look_at_error("wrong password", &lease.acquire(true).await.expect_err("no login"));
    }
    for storage in [&good, &bad, &none] {
        canaries.look_at_debug("storage", storage);
    }
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// All that a user of ours needs, as the documentation of `RedisTokenStorage` has it.
const RULES: [&str; 26] = [
    "on",
    "resetkeys",
    "~token:*",
    "~{token:*}:*",
    "resetchannels",
    "&requestforge:token",
    "-@all",
    "+select",
    "+eval",
    "+evalsha",
    "+script|load",
    "+get",
    "+set",
    "+del",
    "+strlen",
    "+type",
    "+hset",
    "+hget",
    "+hdel",
    "+expire",
    "+pexpire",
    "+pttl",
    "+publish",
    "+subscribe",
    "+time",
    "+ping",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_these_rights_can_do_everything() {
    let redis = RedisServer::start().await;
    let client = Client::open(redis.url()).expect("a client");
    let mut admin = client.get_multiplexed_async_connection().await.expect("a connection");
    let password = "p@ss/word";
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("forge").arg(format!(">{password}")).arg(&RULES[..]);
    user.exec_async(&mut admin).await.expect("an answer");
    let url = format!("redis://forge:{}@127.0.0.1:{}/1", encoded(password), redis.port());
    storage_conformance::check(patient(&url).build().expect("a storage"), "").await;

    // And who lacks one is told so.
    cmd("ACL").arg("SETUSER").arg("forge").arg("-evalsha").exec_async(&mut admin).await.expect("an answer");
    let storage = patient(&url).build().expect("a storage");
    let error = storage.get("crm").await.expect_err("no permission");
    assert!(error.to_string().contains("permission"), "{error}");
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("forge").arg("+evalsha").arg("resetchannels");
    user.exec_async(&mut admin).await.expect("an answer");
    let storage = patient(&url).build().expect("a storage");
    let error = storage.get("crm").await.expect_err("no permission");
    assert!(error.to_string().contains("permission"), "{error}");
}
