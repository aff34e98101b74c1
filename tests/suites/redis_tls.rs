//! Redis over TLS: trusted authorities, client certificates, and the errors when they do not match.
//!
//! This build contains two crypto libraries, and no code has installed one. Without the one that `redis-tls`
//! installs, rustls would panic.

#![allow(clippy::expect_used)]

#[path = "canary/canaries.rs"]
mod canaries;
#[path = "canary/logs.rs"]
mod logs;

use std::time::Duration;

use forge_tests::{Authority, AuthorizationServer, Identity, RedisCluster, RedisSentinel, RedisServer};
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::testing::storage_conformance;
use requestforge::{
    ClientCredentialsTokenProvider, RedisTokenStorage, StorageError, TokenManager, TokenStorage,
};

use canaries::{Canaries, Canary};

/// The test measures no time here: a TLS handshake is slow on a busy machine.
fn patient(builder: RedisTokenStorageBuilder) -> RedisTokenStorageBuilder {
    builder.command_timeout(Duration::from_secs(10))
}

fn builder(redis: &RedisServer) -> RedisTokenStorageBuilder {
    patient(RedisTokenStorage::builder(redis.url()))
}

async fn refused(builder: RedisTokenStorageBuilder) -> StorageError {
    let storage = builder.build().expect("a storage");
    storage.get("crm").await.expect_err("no connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_right_authority_everything_works() {
    let authority = Authority::new();
    let redis = RedisServer::start_tls(&authority, &authority.issue(&["127.0.0.1"]), &[]).await;
    assert!(redis.url().starts_with("rediss://"));
    let builder = builder(&redis).root_certificates(authority.pem());
    storage_conformance::check(builder.build().expect("a storage"), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_authorities_may_be_trusted() {
    let (old, new) = (Authority::new(), Authority::new());
    let redis = RedisServer::start_tls(&new, &new.issue(&["127.0.0.1"]), &[]).await;
    let builder = builder(&redis).root_certificates(old.pem() + &new.pem());
    assert!(!builder.build().expect("a storage").exists("crm").await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_authority_is_not_let_near_a_token() {
    let (right, wrong) = (Authority::new(), Authority::new());
    let redis = RedisServer::start_tls(&right, &right.issue(&["127.0.0.1"]), &[]).await;
    let error = refused(builder(&redis).root_certificates(wrong.pem())).await;
    assert!(error.to_string().contains("not signed by a trusted authority"), "{error}");
    // The client does not trust an authority that the system does not know.
    let error = refused(builder(&redis)).await;
    assert!(error.to_string().contains("not signed by a trusted authority"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let redis = RedisServer::start_tls(&authority, &authority.issue(&["redis.example.com"]), &[]).await;
    let error = refused(builder(&redis).root_certificates(authority.pem())).await;
    assert!(error.to_string().contains("certificate is for another name"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv16_a_server_that_wants_a_certificate_gets_ours_and_the_key_is_seen_by_nobody() {
    logs::keep();
    let authority = Authority::new();
    let arguments = ["--tls-auth-clients", "yes"];
    let redis = RedisServer::start_tls(&authority, &authority.issue(&["127.0.0.1"]), &arguments).await;
    let (ours, foreign) = (authority.issue(&["replica-1"]), Authority::new().issue(&["replica-1"]));
    let trusting = || builder(&redis).root_certificates(authority.pem());
    let with =
        |identity: &Identity| trusting().client_certificate(identity.certificate_pem(), identity.key_pem());
    let line = |identity: &Identity| {
        let line = identity.key_pem().lines().nth(1).expect("a line of the key").to_owned();
        Canary::of("a client's key", &line)
    };
    let mut canaries = Canaries::new([line(&ours)]);
    canaries.add(line(&foreign));
    canaries.look_at_debug("builder", &with(&ours));

    let storage = with(&ours).build().expect("a storage");
    assert!(!storage.exists("crm").await.expect("an answer"));
    canaries.look_at_debug("storage", &storage);
    for builder in [trusting(), with(&foreign)] {
        let error = refused(builder).await;
        assert!(error.to_string().contains("rejects the client certificate"), "{error}");
        canaries.look_at_error("certificate", &error);
    }
    let key_of_another = trusting().client_certificate(ours.certificate_pem(), foreign.key_pem());
    let error = key_of_another.build().expect_err("not its key");
    assert_eq!(error.field(), "client_certificate");
    canaries.look_at_error("key", &error);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_encrypted_do_not_meet() {
    let authority = Authority::new();
    let tls = RedisServer::start_tls(&authority, &authority.issue(&["127.0.0.1"]), &[]).await;
    let plain = RedisServer::start().await;
    let to_tls = patient(RedisTokenStorage::builder(tls.url().replace("rediss", "redis")));
    let to_plain = RedisTokenStorage::builder(plain.url().replace("redis", "rediss"));
    for builder in [to_tls, patient(to_plain).root_certificates(authority.pem())] {
        let error = refused(builder).await.to_string();
        assert!(error.contains("cannot connect to Redis") || error.contains("no Redis"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_without_trust_tokens_are_fetched_without_redis() {
    let authority = Authority::new();
    let redis = RedisServer::start_tls(&authority, &authority.issue(&["redis.example.com"]), &[]).await;
    let issuer = AuthorizationServer::start().await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        issuer.token_url(),
        issuer.client_id(),
        issuer.client_secret(),
    );
    let storage = builder(&redis).root_certificates(authority.pem()).build().expect("a storage");
    let provider = provider.build().expect("a provider");
    let manager = TokenManager::builder(provider).storage(storage).build().expect("a manager");
    manager.get_token().await.expect("a token");
    manager.get_token().await.expect("a token");
    assert_eq!(issuer.token_calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_is_reached_at_every_node() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let cluster = RedisCluster::start_tls(&authority, &identity, &["--tls-auth-clients", "yes"]).await;
    let storage = patient(RedisTokenStorage::cluster(cluster.urls()))
        .root_certificates(authority.pem())
        .client_certificate(identity.certificate_pem(), identity.key_pem())
        .build()
        .expect("a storage");
    storage_conformance::check(storage, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_their_master_are_reached_over_tls() {
    let authority = Authority::new();
    let redis = RedisSentinel::start_tls(&authority, &authority.issue(&["127.0.0.1"])).await;
    let sentinel = || patient(RedisTokenStorage::sentinel(redis.sentinel_urls(), redis.master_name()));
    let storage = sentinel().root_certificates(authority.pem()).build().expect("a storage");
    storage_conformance::check(storage, "").await;
    let error = refused(sentinel().root_certificates(Authority::new().pem())).await;
    assert!(error.to_string().contains("not signed by a trusted authority"), "{error}");
}
