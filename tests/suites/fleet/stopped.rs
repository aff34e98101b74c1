//! The test stops the holder of the lease (SIGSTOP) until long after its lease has expired. Then the holder
//! goes on as if nothing had happened.

use std::time::{Duration, Instant};

use forge_tests::fleet::{Outcome, Request, Settings};
use forge_tests::{AuthorizationServer, StatusCode};
use tokio::time::sleep;

use crate::member::{Fleet, ended, settings, the_caller, the_token};
use crate::redis::Redis;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 16;
const TASKS: usize = 10;
const CALL: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_secs(1);
/// The duration of the successor's token call. The late holder goes on and ends during that call.
const SUCCESSORS_CALL: Duration = Duration::from_millis(400);
/// The number of the process with a wrong secret.
const STRANGER: usize = SIZE - 1;

#[tokio::test(flavor = "multi_thread")]
async fn inv04_a_holder_that_stood_still_replaces_no_newer_token_and_ends_no_lease_of_another() {
    let _alone = alone().await;
    let mut scene = Scene::begin().await;
    let rounds = rounds(200, 20);
    let (mut round, mut through) = (0, 0);
    while round < rounds {
        let key = format!("stopped {round} after {through}");
        let stopped = match round % 4 {
            0 => scene.late_after_the_successor(&key).await,
            1 => scene.late_during_the_successors_call(&key, Late::WithAToken).await,
            2 => scene.late_during_the_successors_call(&key, Late::Refused).await,
            _ => scene.late_during_the_successors_call(&key, Late::Failed).await,
        };
        round += usize::from(stopped);
        through += usize::from(!stopped);
        assert!(through <= rounds, "this machine has too much else to do to stop anybody in time");
    }
    println!(
        "stopped: {rounds} holders resumed after their lease, two token calls each, {} met a lease of another; \
         late answers dealt with after {}; {through} more were through before they were stopped",
        scene.met_a_lease, scene.times
    );
    assert!(scene.met_a_lease * 2 >= rounds, "the successors' calls were over too soon");
}

/// The answer of the authorization server to the late holder.
#[derive(Clone, Copy, PartialEq)]
enum Late {
    WithAToken,
    /// Its secret is wrong, so it releases the lease.
    Refused,
    /// 503: the late holder begins a cool-down for all processes.
    Failed,
}

struct Scene {
    server: AuthorizationServer,
    redis: Redis,
    fleet: Fleet,
    times: Times,
    /// The number of times that the late holder ended while the successor still held the lease.
    met_a_lease: usize,
}

impl Scene {
    async fn begin() -> Self {
        let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
        let settings = Settings { lease: LEASE, ..settings(&server, &redis) };
        let wrong = Settings { client_secret: "wrong".to_owned(), ..settings.clone() };
        let settings = |number| if number == STRANGER { wrong.clone() } else { settings.clone() };
        let fleet = Fleet::start_with(SIZE, settings).await;
        Self { server, redis, fleet, times: Times::new(), met_a_lease: 0 }
    }

    /// Returns false if the holder ended before the test stopped it.
    async fn late_after_the_successor(&mut self, key: &str) -> bool {
        let Self { server, redis, fleet, .. } = self;
        server.set_delay(CALL);
        let before = server.token_calls();
        let good = &fleet.members[..STRANGER];
        let begun: Vec<_> = good.iter().map(|member| member.begun(Request::Get, key, TASKS)).collect();
        let holder = the_caller(server, before).await;
        sleep(CALL / 2).await;
        fleet.members[holder].process().stop();
        // In this order: the number of calls before it tells which process a token belongs to.
        let stopped = Instant::now();
        while server.token_calls() < before + 2 {
            assert!(stopped.elapsed() < Duration::from_secs(60), "nobody takes over");
            if redis.record(key).await.is_some() && server.token_calls() < before + 2 {
                fleet.members[holder].process().resume();
                the_token(&ended(begun).await);
                return false;
            }
            sleep(Duration::from_millis(1)).await;
        }
        let newer = until_stored(redis, key).await;
        let record = redis.record(key).await;

        let resumed = Instant::now();
        fleet.members[holder].process().resume();
        let outcomes = ended(begun).await;
        assert_eq!(the_token(&outcomes), newer, "also the late one has it");
        assert_eq!(redis.record(key).await, record, "the newer token stays as it is");
        assert_eq!((redis.holder(key).await, server.token_calls()), (None, before + 2));
        self.times.add(resumed.elapsed());
        true
    }

    /// Returns false if the holder ended before the test stopped it.
    async fn late_during_the_successors_call(&mut self, key: &str, late: Late) -> bool {
        let Self { server, redis, fleet, .. } = self;
        server.set_delay(CALL);
        let before = server.token_calls();
        let holder = if late == Late::Refused { STRANGER } else { before % STRANGER };
        server.set_failing((late == Late::Failed).then_some(StatusCode::SERVICE_UNAVAILABLE));
        let of_the_late = fleet.members[holder].begun(Request::Get, key, TASKS);
        assert_eq!(the_caller(server, before).await, holder);
        sleep(CALL / 2).await;
        let process = fleet.members[holder].process();
        process.stop();
        let Some(first) = redis.holder(key).await else {
            process.resume();
            server.set_failing(None);
            assert_told(late, &of_the_late.await.expect("no panic").expect("an outcome"), server);
            return false;
        };
        // By then the server has answered the call.
        sleep(CALL).await;
        server.set_failing(None);

        server.set_delay(SUCCESSORS_CALL);
        let others = fleet.members[..STRANGER].iter().enumerate().filter(|(number, _)| *number != holder);
        let begun = others.map(|(_, member)| member.begun(Request::Get, key, TASKS)).collect();
        the_caller(server, before + 1).await;
        let second = redis.holder(key).await.expect("another lease");
        assert_ne!(first, second);
        let resumed = Instant::now();
        process.resume();
        let of_the_late = of_the_late.await.expect("no panic").expect("an outcome");
        self.times.add(resumed.elapsed());
        // The release that the late holder sent at its end is on its way.
        sleep(CALL / 2).await;
        let present = redis.holder(key).await;
        // If the successor has already ended, there is a token.
        let is_over = redis.record(key).await.is_some();
        assert!(is_over || present.as_ref() == Some(&second), "{present:?} instead of {second}");
        self.met_a_lease += usize::from(!is_over);

        let outcomes = ended(begun).await;
        let token = the_token(&outcomes);
        assert_eq!(redis.token(key).await.as_ref(), Some(&token));
        assert!(!redis.has_cool_down(key).await, "a late failure lets nobody wait");
        assert_eq!(server.token_calls(), before + 2);
        assert_told(late, &of_the_late, server);
        // From now on the late holder also has the token that all others have.
        if late == Late::WithAToken {
            assert_eq!(the_token(&[fleet.members[holder].does(Request::Get, key, 1).await]), token);
            assert_eq!(server.token_calls(), before + 2);
        }
        true
    }
}

fn assert_told(late: Late, outcome: &Outcome, server: &AuthorizationServer) {
    let errors = &outcome.errors;
    match late {
        Late::WithAToken => assert!(errors.is_empty() && outcome.tokens.len() == 1, "{outcome:?}"),
        Late::Refused => assert!(errors.iter().all(|error| error.status == Some(401)), "{outcome:?}"),
        Late::Failed => assert!(errors.iter().all(|error| error.status == Some(503)), "{outcome:?}"),
    }
    assert!(errors.len() == if late == Late::WithAToken { 0 } else { TASKS }, "{outcome:?} {server:?}");
}

async fn until_stored(redis: &Redis, key: &str) -> String {
    loop {
        if let Some(token) = redis.token(key).await {
            return token;
        }
        sleep(Duration::from_millis(2)).await;
    }
}
