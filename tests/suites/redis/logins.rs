//! Passwords and users of the server.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_tests::{RedisCluster, RedisNode, RedisSentinel, RedisServer};
use futures_util::stream::{self, Stream};
use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::auth::{BasicAuth, StreamingCredentialsProvider};
use requestforge::redis::{RedisResult, cmd};
use requestforge::storage::CoolDownPolicy;
use requestforge::testing::storage_conformance;
use requestforge::{RedisTokenStorage, Secret, SecretSource, TokenData, TokenStorage};
use tokio::sync::watch;

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::logs;
use crate::patient;
use crate::servers::connection::connection;
use crate::world::soon;

/// The text in a form that fits into a URL.
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
        canaries.look_at_error(
            "wrong password",
            &lease.acquire(CoolDownPolicy::Respect).await.expect_err("no login"),
        );
    }
    for storage in [&good, &bad, &none] {
        canaries.look_at_debug("storage", storage);
    }
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// All rules that our user needs, as in the documentation of `RedisTokenStorage`.
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
    let mut admin = connection(&redis.url()).await;
    let password = "p@ss/word";
    let mut user = cmd("ACL");
    user.arg("SETUSER").arg("forge").arg(format!(">{password}")).arg(&RULES[..]);
    user.exec_async(&mut admin).await.expect("an answer");
    let url = format!("redis://forge:{}@127.0.0.1:{}/1", encoded(password), redis.port());
    storage_conformance::check(patient(&url).build().expect("a storage"), "").await;

    // A user that lacks a permission gets an error that says so.
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

/// The additional rules that such a user needs in a cluster, and at masters with sentinels.
const RULES_IN_A_CLUSTER: [&str; 3] = ["+cluster|info", "+cluster|slots", "+asking"];
const RULES_WITH_SENTINELS: [&str; 1] = ["+role"];
/// The rules that a user of the sentinels themselves needs.
const RULES_OF_SENTINELS: [&str; 9] = [
    "on",
    ">the sentinels'",
    "-@all",
    "+sentinel|master",
    "+sentinel|get-master-addr-by-name",
    "+subscribe",
    "+ping",
    "resetchannels",
    "&+switch-master",
];

async fn create_user(nodes: impl IntoIterator<Item = RedisNode>, rules: &[&[&str]]) {
    for node in nodes {
        let mut admin = connection(&node.url()).await;
        let mut user = cmd("ACL");
        user.arg("SETUSER").arg("forge").arg(rules.concat());
        user.exec_async(&mut admin).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_these_rights_can_do_everything_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    create_user(cluster.nodes(), &[&RULES, &RULES_IN_A_CLUSTER, &[">pass"]]).await;
    let urls = cluster.urls().into_iter().map(|url| url.replace("//", "//forge:pass@"));
    let builder = RedisTokenStorage::cluster(urls).command_timeout(Duration::from_secs(10));
    let storage = builder.build().expect("a storage");
    storage_conformance::check(storage.clone(), "").await;

    // The same while its keys move: the client asks the other master for a key that is not there yet.
    storage.set("crm", &TokenData::new("t")).await.expect("an answer");
    let from = cluster.master_of("token:crm").await;
    let masters = [cluster.master_of("a").await, cluster.master_of("b").await, cluster.master_of("c").await];
    let to = masters.into_iter().find(|node| *node != from).expect("another master");
    let moving = cluster.begin_to_move("token:crm", to).await;
    moving.move_keys().await;
    assert!(storage.exists("crm").await.expect("an answer"));
    moving.finish().await;
    assert!(storage.exists("crm").await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_these_rights_can_do_everything_with_sentinels() {
    let redis = RedisSentinel::start().await;
    create_user(redis.servers(), &[&RULES, &RULES_WITH_SENTINELS, &[">pass"]]).await;
    create_user(redis.sentinels(), &[&RULES_OF_SENTINELS]).await;
    let login = "//forge:the%20sentinels%27@";
    let urls = redis.sentinel_urls().into_iter().map(|url| url.replace("//", login));
    let builder = RedisTokenStorage::sentinel(urls, redis.master_name()).username("forge").password("pass");
    let builder = builder.database(1).command_timeout(Duration::from_secs(10));
    storage_conformance::check(builder.build().expect("a storage"), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_is_missing_is_named_in_clusters_and_with_sentinels() {
    let (cluster, redis) = tokio::join!(
        RedisCluster::start_with(&["--requirepass", "pass"]),
        RedisSentinel::start_with(&["--requirepass", "pass"], &["--requirepass", "theirs"])
    );
    let sentinel = |login: &str| {
        let urls = redis.sentinel_urls().into_iter().map(|url| url.replace("//", login));
        RedisTokenStorage::sentinel(urls, redis.master_name())
    };
    for (builder, expected) in [
        (RedisTokenStorage::cluster(cluster.urls()), "Redis refused the login"),
        (sentinel("//"), "a sentinel refused the login"),
        (sentinel("//:pass@"), "refused the login"),
        (sentinel("//:theirs@"), "Redis refused the login"),
    ] {
        let storage = builder.command_timeout(Duration::from_secs(10)).build().expect("a storage");
        let error = storage.get("crm").await.expect_err("no login").to_string();
        assert!(error.contains(expected), "{error}");
    }
    let builder = sentinel("//:theirs@").password("pass").command_timeout(Duration::from_secs(10));
    assert!(!builder.build().expect("a storage").exists("crm").await.expect("an answer"));
}

/// A password that changes, here and at the server.
struct Rotating {
    redis: RedisServer,
    admin: MultiplexedConnection,
}

impl Rotating {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let admin = connection(&redis.url()).await;
        Self { redis, admin }
    }

    /// From now on the user has this password and no other.
    async fn set(&self, user: &str, password: &str) {
        let mut set = cmd("ACL");
        set.arg("SETUSER").arg(user).arg("resetpass").arg(format!(">{password}")).arg(&RULES[..]);
        set.exec_async(&mut self.admin.clone()).await.expect("an answer");
    }

    async fn disconnect(&self, user: &str) {
        let mut kill = cmd("CLIENT");
        kill.arg("KILL").arg("USER").arg(user);
        kill.exec_async(&mut self.admin.clone()).await.expect("an answer");
    }

    /// The users of all connections, without the administrator.
    async fn users(&self) -> Vec<String> {
        let list: String =
            cmd("CLIENT").arg("LIST").query_async(&mut self.admin.clone()).await.expect("an answer");
        let user = |line: &str| {
            line.split(' ').find_map(|field| field.strip_prefix("user=")).expect("a user").to_owned()
        };
        list.lines().map(user).filter(|user| user != "default").collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_a_wrong_password_heals_when_the_secret_changes() {
    logs::keep();
    let (old, new) = (Canary::secret("old password"), Canary::secret("new password"));
    let server = Rotating::start().await;
    server.set("forge", new.text()).await;
    let (secret, next) = (Arc::new(Mutex::new(old.text().to_owned())), new.text().to_owned());
    let present = Arc::clone(&secret);
    let source = SecretSource::from_fn(move || {
        let password = Secret::from(present.lock().expect("no panic").clone());
        async { Ok::<_, std::io::Error>(password) }
    });
    let storage = patient(&server.redis.url()).username("forge").password(source).build().expect("a storage");
    let mut canaries = Canaries::new([old, new]);
    let error = storage.get("crm").await.expect_err("the old password");
    assert!(error.to_string().contains("refused the login"), "{error}");
    canaries.look_at_error("the old password", &error);
    canaries.look_at_debug("storage", &storage);

    *secret.lock().expect("no panic") = next;
    assert!(soon(|| async { storage.get("crm").await.is_ok() }).await);
    assert_eq!(server.users().await, ["forge"]);

    // A connection goes on until the server cuts it. The next one uses the new password.
    server.set("forge", "the third").await;
    assert!(storage.get("crm").await.is_ok(), "who is in stays in");
    server.disconnect("forge").await;
    "the third".clone_into(&mut secret.lock().expect("no panic"));
    assert!(soon(|| async { storage.get("crm").await.is_ok() }).await);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

/// Users and passwords that another program changes.
struct Changing(watch::Receiver<(String, String)>);

impl StreamingCredentialsProvider for Changing {
    fn subscribe(&self) -> Pin<Box<dyn Stream<Item = RedisResult<BasicAuth>> + Send + 'static>> {
        let mut present = self.0.clone();
        present.mark_changed();
        Box::pin(stream::unfold(present, |mut present| async move {
            present.changed().await.ok()?;
            let (user, password) = present.borrow_and_update().clone();
            Some((Ok(BasicAuth::new(user, password)), present))
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_credentials_that_stream_in_change_the_user_of_the_one_connection() {
    logs::keep();
    let passwords = [Canary::secret("first password"), Canary::secret("second password")];
    let server = Rotating::start().await;
    for (user, password) in ["one", "two"].into_iter().zip(&passwords) {
        server.set(user, password.text()).await;
    }
    let login = |number: usize| (["one", "two"][number].to_owned(), passwords[number].text().to_owned());
    let (change, present) = watch::channel(login(0));
    let builder = patient(&server.redis.url()).credentials_provider(Changing(present));
    let shown = format!("{builder:?}");
    let storage = builder.build().expect("a storage");
    storage.set("crm", &TokenData::new("t")).await.expect("an answer");
    assert_eq!(server.users().await, ["one"]);
    change.send_replace(login(1));
    assert!(soon(|| async { server.users().await == ["two"] }).await);
    assert!(storage.exists("crm").await.expect("an answer"));

    // The next connection begins with the values that are valid then.
    server.disconnect("two").await;
    assert!(soon(|| async { storage.get("crm").await.is_ok() }).await);
    assert_eq!(server.users().await, ["two"]);
    let mut canaries = Canaries::new(passwords);
    canaries.look_at("builder", shown);
    canaries.look_at_debug("storage", &storage);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}
