//! Tokens at all masters.

use forge_tests::AuthorizationServer;
use forge_tests::fleet::Request;

use crate::alone;
use crate::member::{Fleet, settings, the_token};
use crate::redis::Redis;

const SIZE: usize = 4;
const KEYS: usize = 24;

#[tokio::test(flavor = "multi_thread")]
async fn inv04_the_tokens_of_a_fleet_are_at_all_masters_and_each_is_fetched_once() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    let fleet = Fleet::start(SIZE, &settings(&server, &redis)).await;
    for number in 0..KEYS {
        let key = format!("spread {number}");
        let token = the_token(&fleet.all(Request::Get, &key, 1).await);
        assert_eq!(redis.token(&key).await, Some(token));
    }
    assert_eq!(server.token_calls(), KEYS);
    let sizes = redis.servers.sizes().await;
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size > 0), "{sizes:?}");
    println!("spread: {KEYS} tokens, and the masters have {sizes:?} keys");
}
