//! Settings that do not fit the servers. The log says what is wrong, and the managers fetch tokens all the
//! same.

use std::time::{Duration, Instant};

use forge_tests::{AuthorizationServer, Machine, RedisServer};
use requestforge::TokenStorage;
use requestforge::storage::RedisTokenStorageBuilder;
use requestforge::{ClientCredentialsTokenProvider, RedisTokenStorage, TokenManager};

use crate::servers::{Kind, Servers};
use crate::world::{KEY, in_turn, key_of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv18_what_does_not_fit_the_servers_is_named_and_costs_no_token() {
    in_turn(what_does_not_fit_the_servers_is_named_and_costs_no_token).await;
}

async fn what_does_not_fit_the_servers_is_named_and_costs_no_token() {
    let (sentinels, cluster) = tokio::join!(Servers::start(Kind::Sentinel), Servers::start(Kind::Cluster));
    let plain = RedisServer::start().await;
    let (Servers::Sentinel(sentinels), Servers::Cluster(cluster)) = (sentinels, cluster) else {
        panic!("others than asked for")
    };
    let name = sentinels.master_name();
    let stranger = cluster.master_of(&key_of(KEY)).await;
    let stranger = cluster.nodes().into_iter().find(|node| *node != stranger).expect("another node");

    let no_name = RedisTokenStorage::sentinel(sentinels.sentinel_urls(), "another");
    expect_refusal(no_name, "the sentinels know no master with this name").await;
    let no_sentinel = RedisTokenStorage::sentinel([plain.url()], name);
    expect_refusal(no_sentinel, "the server at this address is not a sentinel").await;
    let no_cluster = RedisTokenStorage::cluster([plain.url()]);
    expect_refusal(no_cluster, "this server is not part of a cluster").await;
    let a_sentinel = RedisTokenStorage::cluster(sentinels.sentinel_urls());
    expect_refusal(a_sentinel, "the server lacks a necessary command: it is a sentinel, or an old Redis")
        .await;
    let one_of_many = RedisTokenStorage::builder(stranger.url());
    expect_refusal(one_of_many, "this server is part of a cluster: use `RedisTokenStorage::cluster`").await;
    let sentinels_as_server = RedisTokenStorage::builder(&sentinels.sentinel_urls()[0]);
    expect_refusal(
        sentinels_as_server,
        "the server lacks a necessary command: it is a sentinel, or an old Redis",
    )
    .await;
}

async fn expect_refusal(builder: RedisTokenStorageBuilder, expected: &str) {
    let issuer = AuthorizationServer::start().await.expect("a port");
    let storage = builder.command_timeout(Duration::from_millis(500)).build().expect("a storage");
    let (url, id, secret) = (issuer.token_url(), issuer.client_id(), issuer.client_secret());
    let provider = ClientCredentialsTokenProvider::builder(url, id, secret).build().expect("a provider");
    let manager = TokenManager::builder(provider).storage(storage.clone()).cache_key(KEY);
    let manager = manager.build().expect("a manager");
    let (machine, begun) = (Machine::watch(), Instant::now());
    manager.get_token().await.expect("a token without a storage");
    let (took, excused) = (begun.elapsed(), machine.stood_still_since(begun));
    let error = storage.get(KEY).await.expect_err("no storage").to_string();
    println!("{error:?}; the first token takes {took:.1?}");
    assert!(error.ends_with(expected), "{error:?} is not {expected:?}");
    for _ in 0..50 {
        manager.get_token().await.expect("a token without a storage");
    }
    assert_eq!(issuer.token_calls(), 1);
    assert!(took < Duration::from_millis(700) + excused, "it takes {took:?}; excused are {excused:?}");
}
