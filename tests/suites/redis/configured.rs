//! A Redis that a configuration names.

use std::path::Path;

use forge_tests::{AuthorizationServer, RedisServer, undisturbed};
use requestforge::redis::cmd;
use requestforge::{ServiceConfig, TokenManager};
use serde_json::{Value, json};

use crate::servers::connection::connection;

fn manager(service: &Value) -> TokenManager {
    // Each manager represents another process, because one configuration makes one manager.
    let config: ServiceConfig = serde_json::from_value(service.clone()).expect("a service");
    config.token_manager().expect("a manager")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_whose_configuration_names_a_redis_share_a_token() {
    // With the default time-outs of a storage.
    undisturbed(a_configuration_names_a_redis).await;
}

async fn a_configuration_names_a_redis() {
    let issuer = AuthorizationServer::start().await.expect("a server");
    let redis = RedisServer::start_with(&["--requirepass", "s3cret"]).await;
    let (url, folder) = (redis.url(), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let [secret, password] = ["secret", "password"].map(|name| {
        folder.join(format!("configured-{}-{name}", std::process::id())).to_str().expect("text").to_owned()
    });
    std::fs::write(&secret, issuer.client_secret()).expect("a file");
    std::fs::write(&password, "s3cret\n").expect("a file");
    let service = json!({
        "token_url": issuer.token_url(),
        "client_id": issuer.client_id(),
        "client_secret": { "file": secret },
        "redis_url": url,
        "redis_password": { "file": password },
        "redis_key_prefix": "shop",
    });

    let first = manager(&service);
    let token = first.get_token().await.expect("a token");
    let key = format!("shop:{}", first.cache_key());
    let address = url.replacen("redis://", "redis://:s3cret@", 1);
    let mut connection = connection(&address).await;
    let exists: bool = cmd("EXISTS").arg(&key).query_async(&mut connection).await.expect("Redis");
    assert!(exists, "{key}");

    let second = manager(&service).get_token().await.expect("a token");
    assert_eq!((second.id(), issuer.token_calls()), (token.id(), 1));
    _ = (std::fs::remove_file(&secret), std::fs::remove_file(&password));
}

#[test]
fn what_cannot_be_of_a_redis_is_named() {
    for (fields, field) in [
        (json!({ "redis_url": "http://127.0.0.1" }), "redis_url"),
        (json!({ "redis_url": { "env": "NOT_SET" } }), "redis_url"),
        (json!({ "redis_url": "redis://127.0.0.1", "redis_key_prefix": "a{b" }), "redis_key_prefix"),
        (json!({ "redis_url": "redis://user@127.0.0.1" }), "redis_password"),
    ] {
        let mut service = fields;
        service["token_url"] = json!("https://auth.example.com/token");
        service["client_id"] = json!("shop");
        service["client_secret"] = json!({ "env": "NOT_SET" });
        let config: ServiceConfig = serde_json::from_value(service).expect("a service");
        let error = config.token_manager().expect_err("refused");
        assert_eq!(error.fields(), [field], "{error}");
    }
}
