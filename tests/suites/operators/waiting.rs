//! Many replicas wait while one fetches.

use std::time::Duration;

use forge_tests::{AuthorizationServer, RedisServer, undisturbed};
use requestforge::{RedisTokenStorage, TokenStorage};

use crate::alone;
use crate::counts::Counter;
use crate::fleet::{Fleet, KEY, MANY};
use crate::table::Table;

/// Short enough for replicas to ask again, and long enough for 500 of them in one process.
const COMMAND: Duration = Duration::from_secs(1);
const CALL: Duration = Duration::from_millis(2_500);
const FEW: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv04_waiting_for_a_slow_token_call_is_no_flood() {
    undisturbed(waiting_for_a_slow_token_call_is_no_flood).await;
}

async fn waiting_for_a_slow_token_call_is_no_flood() {
    let (redis, issuer) = (RedisServer::start().await, AuthorizationServer::start().await.expect("a server"));
    let _alone = alone().await;
    let server = Counter::of(&redis.url()).await;
    let storage = || RedisTokenStorage::builder(redis.url()).command_timeout(COMMAND);
    let fleet = Fleet::of(MANY, &issuer, storage);
    for replica in &fleet.replicas {
        // The replicas are connected, and there is no token.
        assert_eq!(replica.storage.get(KEY).await.expect("an answer"), None);
    }
    issuer.set_delay(CALL);
    let (spent, tokens) = server.spent_on(fleet.use_token()).await;
    let mut table = Table::new(format!("Standalone, {MANY} replicas (command_timeout {COMMAND:?})"));
    let each = spent.script_micros.checked_div(spent.of("evalsha")).unwrap_or_default();
    table.add("a slow cold start", MANY, &spent, format!("token call of {CALL:?}; a script takes {each} µs"));
    table.print();
    // On a crowded machine a replica may wait too long for an answer, and go on alone.
    assert!(tokens <= FEW && issuer.token_calls() <= FEW, "{tokens} tokens, {} calls", issuer.token_calls());
    // A read, a question in each time-out of the wait, and a read of the result.
    let waits = CALL.as_millis() / COMMAND.as_millis() + 1;
    let usual = u64::try_from(waits + 2).expect("few") * MANY as u64;
    assert!(spent.sent() <= usual + usual / 10, "{spent:?}");
}
