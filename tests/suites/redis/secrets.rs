//! No token and no refresh token in anything that a storage shows (invariant 16).

use std::time::Duration;

use forge_tests::{Proxy, RedisServer};
use requestforge::redis::cmd;
use requestforge::storage::{CoolDown, CoolDownPolicy, MarkTakeover};
use requestforge::{RedisTokenStorage, StorageError, TokenData, TokenStorage};
use serde_json::json;

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::patient;
use crate::world::World;
use crate::{echo, logs};

fn token(canaries: &mut Canaries) -> TokenData {
    let mut made = |name| {
        let canary = Canary::token(name);
        let text = canary.to_string();
        canaries.add(canary);
        text
    };
    let extra = json!({ "id_token": made("id token"), "nested": [{ made("extra name"): made("extra") }] });
    TokenData::new(made("access token"))
        .with_refresh_token(made("refresh token"))
        .with_token_type(made("token type"))
        .with_scope(made("scope"))
        .with_extra(extra.as_object().expect("an object").clone())
        .with_expires_in(Duration::from_secs(3_600))
}

/// The result of every method of a storage.
async fn use_it(canaries: &mut Canaries, what: &str, storage: &RedisTokenStorage, token: &TokenData) {
    let leases = storage.leases().expect("leases");
    let mut lease = leases.lease("crm");
    let mut look = |error: Option<StorageError>| {
        if let Some(error) = error {
            canaries.look_at_error(what, &error);
        }
    };
    look(storage.set("crm", token).await.err());
    look(storage.get("crm").await.err());
    look(storage.exists("crm").await.err());
    look(lease.acquire(CoolDownPolicy::Ignore).await.err());
    look(lease.mark_refresh_token(token.id(), MarkTakeover::Never).await.err());
    look(lease.clear_mark(token.id()).await.err());
    look(lease.store(token, Some(token.id())).await.err());
    let mut failing = leases.lease("crm");
    look(failing.acquire(CoolDownPolicy::Ignore).await.err());
    look(failing.fail(&CoolDown::new(Duration::from_secs(1), 1)).await.err());
    look(storage.compare_and_delete().expect("it can").delete_if("crm", token.id()).await.err());
    look(storage.delete("crm").await.err());
    canaries.look_at_debug(what, storage);
    canaries.look_at_debug(what, &storage.get("crm").await);
    canaries.look_at_debug(what, &storage.generation("crm"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_nothing_is_shown_whatever_goes_wrong() {
    logs::keep();
    let mut canaries = Canaries::new([]);
    let token = token(&mut canaries);
    let mut world = World::start().await;
    let storage = world.storage();
    use_it(&mut canaries, "all is well", &storage, &token).await;
    storage.set("crm", &token).await.expect("an answer");
    let manager = world.manager("crm", storage.clone());
    canaries.look_at_debug("manager", &manager);
    canaries.look_at_debug("credential", &manager.get_token().await.expect("a token"));
    manager.invalidate_token().await.expect("an answer");

    // Errors and logs must not show what another program has stored in place of a token either.
    let record =
        json!({"access_token": token.access_token(), "expires_at": token.refresh_token()}).to_string();
    for garbage in [&record[..], &record[..record.len() / 2], token.access_token()] {
        world.put("token:crm", garbage).await;
        canaries.look_at_debug("garbage", &storage.get("crm").await);
    }
    for side in ["meta", "lease", "cool-down"] {
        world.put(&format!("{{token:crm}}:{side}"), token.access_token()).await;
        let mut lease = storage.leases().expect("leases").lease("crm");
        let failures = [
            lease.mark_refresh_token(token.id(), MarkTakeover::Never).await.err(),
            lease.store(&token, None).await.err(),
        ];
        for error in failures.iter().flatten() {
            canaries.look_at_error("garbage at its side", error);
        }
        world.run::<()>(cmd("FLUSHALL").arg("SYNC")).await;
    }

    // The server has no memory for the token, and writes nothing.
    world.run::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await;
    use_it(&mut canaries, "out of memory", &storage, &token).await;
    world.run::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(0)).await;
    world.run::<()>(cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await;
    use_it(&mut canaries, "a replica", &world.storage(), &token).await;
    world.run::<()>(cmd("REPLICAOF").arg("NO").arg("ONE")).await;

    let proxy = Proxy::start(world.redis.server.port()).await.expect("a proxy");
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let far = RedisTokenStorage::new(&url).expect("a storage");
    far.get("crm").await.expect("an answer");
    proxy.cut();
    use_it(&mut canaries, "cut", &far, &token).await;
    proxy.swallow();
    use_it(&mut canaries, "black-holed", &far, &token).await;
    world.redis.server.stop().await;
    use_it(&mut canaries, "stopped", &storage, &token).await;
    use_it(&mut canaries, "never there", &world.storage(), &token).await;
    let strange = RedisServer::start_with(&["--rename-command", "EVALSHA", ""]).await;
    let strange = RedisTokenStorage::new(strange.url()).expect("a storage");
    use_it(&mut canaries, "a command is missing", &strange, &token).await;

    logs::look_at(&mut canaries, |_| true);
    assert!(logs::times(|line| line.target.starts_with("forge_storage_redis")) > 0, "there are logs");
    canaries.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_what_a_server_repeats_is_not_shown() {
    logs::keep();
    let password = Canary::secret("password of a server that repeats it");
    let encoded = percent_forms(password.text())[0].clone();
    let mut canaries = Canaries::new([password]);
    let token = token(&mut canaries);
    for lets_in in [false, true] {
        let port = echo::start(lets_in).await;
        let url = format!("redis://user:{encoded}@127.0.0.1:{port}");
        let storage = patient(&url).build().expect("a storage");
        let error = storage.delete("crm").await.expect_err("it refuses everything");
        println!("{lets_in}: {error}");
        use_it(&mut canaries, "a server that repeats what it hears", &storage, &token).await;
    }
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}
