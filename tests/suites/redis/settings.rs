//! Settings that the builder refuses before it sends anything.

use std::time::Duration;

use requestforge::redis::Client;
use requestforge::storage::CoolDownPolicy;
use requestforge::{RedisTokenStorage, TokenData, TokenManager, TokenStorage};

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::connections::others_connected;
use crate::patient;
use crate::world::World;

#[tokio::test]
async fn braces_are_refused_where_they_are_set() {
    let world = World::start().await;
    for braced in ["a{b", "a}b", "{a}", "}", "{"] {
        let builder = RedisTokenStorage::builder(world.redis.server.url()).key_prefix(braced);
        let error = builder.build().expect_err("a brace");
        assert!(format!("{error}").contains("key_prefix"), "{error}");

        let manager = TokenManager::builder(world.provider()).storage(world.storage()).cache_key(braced);
        let error = manager.build().expect_err("a brace");
        assert!(format!("{error}").contains("cache_key"), "{error}");

        let storage = world.storage();
        assert!(storage.get(braced).await.is_err() && storage.exists(braced).await.is_err());
        assert!(storage.set(braced, &TokenData::new("t")).await.is_err());
        assert!(storage.delete(braced).await.is_err());
        let mut lease = storage.leases().expect("leases").lease(braced);
        assert!(lease.acquire(CoolDownPolicy::Respect).await.is_err());
    }
    assert_eq!(others_connected(&world).await, 0, "nothing was sent");
}

#[test]
fn what_makes_no_sense_is_refused_by_its_name() {
    let builder = || RedisTokenStorage::builder("redis://127.0.0.1:1");
    let nothing = Duration::ZERO;
    let cases = [
        ("command_timeout", builder().command_timeout(nothing)),
        ("lease", builder().lease(nothing)),
        ("recheck_after", builder().recheck_after(nothing)),
        ("trusted_for", builder().recheck_after(Duration::from_secs(2)).trusted_for(Duration::from_secs(1))),
    ];
    for (field, builder) in cases {
        let error = builder.build().expect_err(field);
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn inv16_bad_urls_are_refused_without_their_password() {
    let password = Canary::secret("password");
    let encoded = percent_forms(password.text())[0].clone();
    let mut canaries = Canaries::new([password]);
    let urls = [
        format!("http://user:{encoded}@127.0.0.1:6379"),
        format!("redis://user:{encoded}@127.0.0.1:no-port"),
        format!("redis://user:{encoded}@127.0.0.1:6379/no-database"),
        format!("redis://user:{encoded}@127.0.0.1:99999"),
        format!("redis://user:{encoded}@"),
        format!("redis://:{encoded}"),
        format!("user:{encoded}@127.0.0.1"),
        format!("redis//user:{encoded}@127.0.0.1"),
        format!("redis+unix:{encoded}"),
        format!("redis://%ff:{encoded}@127.0.0.1:6379"),
        format!("redis://user:{encoded}%ff@127.0.0.1:6379"),
        encoded.clone(),
    ];
    for url in urls {
        let builder = RedisTokenStorage::builder(&url);
        canaries.look_at_debug("builder of a bad URL", &builder);
        match builder.build() {
            Ok(storage) => canaries.look_at_debug("storage of a bad URL", &storage),
            Err(error) => {
                assert!(error.to_string().contains("url"), "{error}");
                canaries.look_at_error("bad URL", &error);
            }
        }
    }
    canaries.end();
    assert!(RedisTokenStorage::new("http://127.0.0.1").is_err());
    assert!(RedisTokenStorage::new("redis://127.0.0.1:6379/no-database").is_err());
    for good in ["redis://127.0.0.1", "valkey://127.0.0.1:1/2", "redis+unix:///tmp/r.sock", "redis://[::1]:1"]
    {
        assert!(RedisTokenStorage::new(good).is_ok(), "{good}");
    }
}

#[tokio::test]
async fn databases_are_apart() {
    let world = World::start().await;
    let third = patient(&format!("{}/3", world.redis.server.url())).build().expect("a storage");
    let first = world.storage();
    third.set("crm", &TokenData::new("in the third")).await.expect("an answer");
    assert_eq!(first.get("crm").await.expect("an answer"), None);
    world.run::<()>(requestforge::redis::cmd("SELECT").arg(3)).await;
    assert!(world.raw("token:crm").await.is_some());

    // The two storages share a channel, which does no harm.
    let managers = [world.manager("m", first), world.manager("m", third)];
    for manager in &managers {
        manager.get_token().await.expect("a token");
    }
    managers[0].invalidate_token().await.expect("an answer");
    let before = world.issuer.token_calls();
    managers[1].get_token().await.expect("a token");
    assert_eq!((before, world.issuer.token_calls()), (2, 2));
}

#[tokio::test]
async fn a_client_is_a_target_too() {
    let world = World::start().await;
    let client = Client::open(world.redis.server.url()).expect("a client");
    let storage = RedisTokenStorage::from_client(&client).key_prefix("mine");
    let storage = storage.command_timeout(Duration::from_secs(5)).build().expect("a storage");
    storage.set("crm", &TokenData::new("t")).await.expect("an answer");
    assert!(world.raw("mine:crm").await.is_some());
}
