//! The test kills and stops processes at any moment, most of all while they hold the lease. Refresh tokens
//! rotate.

use std::time::{Duration, Instant};

use forge_tests::AuthorizationServer;
use forge_tests::fleet::{Order, Report, Request, Settings, now};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::member::{Fleet, settings, the_token};
use crate::random::Random;
use crate::redis::Redis;
use crate::relay::Relay;
use crate::times::Times;
use crate::{alone, rounds};

const SIZE: usize = 8;
const KEY: &str = "chaos";
const LEASE: Duration = Duration::from_secs(1);
/// A token is in use for half of this time.
const LIFE: Duration = Duration::from_secs(4);
/// Long enough for the test to strike.
const CALL: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn inv05_no_refresh_token_is_sent_twice_whoever_dies_or_stands_still_at_whatever_moment() {
    let _alone = alone().await;
    let (server, redis) = (AuthorizationServer::start().await.expect("a port"), Redis::start().await);
    server.set_delay(CALL);
    server.set_lifetime(Some(LIFE));
    server.set_refresh_tokens(true);
    let relay = Relay::start(&server.token_url()).await;
    let user = (server.username().to_owned(), server.password().to_owned());
    let settings =
        Settings { token_url: relay.url(), user: Some(user), lease: LEASE, ..settings(&server, &redis) };
    let mut fleet = Fleet::start(SIZE, &settings).await;
    let time = Duration::from_secs(rounds(150, 12).max(8).try_into().expect("a short time"));
    let (begun, until) = (Instant::now(), now() + u64::try_from(time.as_nanos()).expect("a short time"));
    let mut users: Vec<_> = (0..SIZE).map(|number| user_of(&fleet, number, until)).collect();
    let (mut random, mut longest) = (Random(5), Times::new());
    let (mut killed, mut stopped, mut holders) = (0, 0, 0);
    while begun.elapsed() < time {
        sleep(Duration::from_millis(100)).await;
        // In about half of the rounds the victim is the process that makes a token call, if one comes soon.
        let mut victim = random.below(SIZE);
        if random.below(2) == 0
            && let Ok(caller) = timeout(LIFE / 2, relay.the_caller(relay.calls())).await
        {
            (victim, holders) = (caller, holders + 1);
        }
        if random.below(3) == 0 {
            killed += 1;
            fleet.replace(victim).await;
            assert!(users[victim].await_report().await.is_none(), "it was killed");
            users[victim] = user_of(&fleet, victim, until);
        } else {
            stopped += 1;
            let process = fleet.members[victim].process();
            process.stop();
            sleep(Duration::from_millis(50 * (1 + random.below(40) as u64))).await;
            process.resume();
        }
    }
    for user in &mut users {
        let Some(Report::Outcomes(outcomes)) = user.await_report().await else { panic!("no outcomes") };
        for outcome in outcomes {
            assert!(outcome.errors.is_empty(), "{outcome:?}");
            longest.add(outcome.longest);
        }
    }
    let refreshes = relay.refresh_tokens();
    let full_grants = relay.calls() - refreshes;
    // A kill or a pause costs a password grant.
    assert!(refreshes > 0 && full_grants <= 1 + killed + stopped, "{refreshes}, {full_grants}");
    let token = the_token(&fleet.all(Request::Get, KEY, 1).await);
    assert_eq!(redis.token(KEY).await, Some(token), "in the end all agree");
    println!(
        "chaos: {killed} killed and {stopped} stopped in {time:?}, {holders} of them in a token call; {refreshes} \
         refreshes, none twice, and {full_grants} full grants; slowest caller of each process {longest}"
    );
}

/// Uses the token all the time.
fn user_of(fleet: &Fleet, number: usize, until: u64) -> User {
    let member = fleet.members[number].clone();
    let order = Order::Use { key: KEY.to_owned(), tasks: 4, pause_millis: 20, until };
    User(tokio::spawn(async move { member.told(order).await }))
}

struct User(JoinHandle<Option<Report>>);

impl User {
    /// `None`: the test killed the process.
    async fn await_report(&mut self) -> Option<Report> {
        (&mut self.0).await.expect("no panic")
    }
}
