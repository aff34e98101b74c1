//! Processes that share the tokens of all steps through one Redis.

use std::time::Duration;

use forge_tests::fleet::{Failure, Request, Settings};
use forge_tests::{MultiStepServer, StatusCode, Step};

use crate::member::{Fleet, the_token};
use crate::redis::{PREFIX, Redis};

const SIZE: usize = 8;
const TASKS: usize = 25;
/// The duration of a call, long enough for all processes to ask meanwhile.
const CALL: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn inv04_eight_cold_processes_make_one_call_of_each_step_and_one_more_when_all_was_revoked() {
    let (server, _redis, fleet) = start().await;
    for (round, key) in ["first", "second", "third"].iter().enumerate() {
        // Race: with a quick server a process may read Redis before the token is stored, and ask for the lease after
        // the fetching process has released it.
        let delay = if round % 2 == 0 { CALL } else { Duration::ZERO };
        for step in Step::ALL {
            server.set_delay(step, delay);
        }
        let cold = the_token(&fleet.all(Request::Get, key, TASKS).await);
        assert_eq!(server.all_calls(), [2 * round + 1, 0, 2 * round + 1, 2 * round + 1], "{key}");

        for step in Step::ALL {
            server.revoke(step);
        }
        let renewed = the_token(&fleet.all(Request::Reject, key, TASKS).await);
        assert_ne!(cold, renewed);
        assert_eq!(server.all_calls(), [2 * round + 2, 0, 2 * round + 2, 2 * round + 2], "{key}");
    }
    assert!(Step::ALL.iter().all(|step| server.refused(*step) == 0), "nobody sends what was revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn inv08_a_step_that_asks_for_time_is_given_it_by_all_processes() {
    // Longer than the test takes, and not above the limit that managers honour.
    const RETRY_AFTER: u32 = 600;
    let (server, _redis, fleet) = start().await;
    for (failing, calls) in [(Step::App, [1, 0, 0, 0]), (Step::Session, [2, 0, 1, 1])] {
        server.set_failing(failing, Some(StatusCode::SERVICE_UNAVAILABLE));
        server.set_retry_after(failing, Some(RETRY_AFTER));
        for _ in 0..3 {
            for outcome in fleet.all(Request::Get, failing.name(), TASKS).await {
                assert_eq!((outcome.tokens.len(), outcome.errors.len()), (0, TASKS), "{outcome:?}");
                let is_busy = |error: &Failure| error.status == Some(503) && error.is_transient;
                assert!(outcome.errors.iter().all(is_busy), "{outcome:?}");
            }
            assert_eq!(server.all_calls(), calls, "one has tried, and all wait");
        }
        server.set_failing(failing, None);
    }
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
