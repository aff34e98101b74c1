//! Processes that share the tokens of all steps through one Redis.

use std::time::Duration;

use forge_tests::fleet::{Settings, What};
use forge_tests::{MultiStepServer, Step};

use crate::member::{Fleet, the_token};
use crate::redis::{PREFIX, Redis};

const SIZE: usize = 8;
const TASKS: usize = 25;
/// So long that all processes come while it lasts.
const CALL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn inv04_eight_cold_processes_make_one_call_of_each_step_and_one_more_when_all_was_revoked() {
    let (server, _redis, fleet) = start().await;
    for (round, key) in ["first", "second", "third"].iter().enumerate() {
        // A quick server is harder: some have looked into Redis before a token came, and ask for the lease after
        // it was given back.
        let delay = if round % 2 == 0 { CALL } else { Duration::ZERO };
        for step in Step::ALL {
            server.set_delay(step, delay);
        }
        let cold = the_token(&fleet.all(What::Get, key, TASKS).await);
        assert_eq!(server.all_calls(), [2 * round + 1, 0, 2 * round + 1, 2 * round + 1], "{key}");

        for step in Step::ALL {
            server.revoke(step);
        }
        let renewed = the_token(&fleet.all(What::Reject, key, TASKS).await);
        assert_ne!(cold, renewed);
        assert_eq!(server.all_calls(), [2 * round + 2, 0, 2 * round + 2, 2 * round + 2], "{key}");
    }
    assert!(Step::ALL.iter().all(|step| server.refused(*step) == 0), "nobody sends what was revoked");
}

async fn start() -> (MultiStepServer, Redis, Fleet) {
    let (server, redis) = (MultiStepServer::start().await.expect("a port"), Redis::start().await);
    let settings = Settings {
        token_url: server.base_url(),
        client_id: server.client_id().to_owned(),
        client_secret: server.client_secret().to_owned(),
        user: Some((server.username().to_owned(), server.password().to_owned())),
        steps: true,
        mark: String::new(),
        redis: redis.topology(),
        prefix: PREFIX.to_owned(),
        lease: Duration::from_secs(5),
        clock_ahead: 0,
    };
    let fleet = Fleet::start(SIZE, &settings).await;
    (server, redis, fleet)
}
