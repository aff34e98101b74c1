//! The log lines about refreshes and delays, and their number.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::Once;
use std::time::Duration;

use forge_core::AuthenticationErrorKind;
use tracing_subscriber::fmt::MakeWriter;

use crate::issuer::{Failure, error};
use crate::world::{Storage, World};

thread_local! {
    /// Each test has its own thread, with a runtime on it.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Log;

impl Log {
    /// The lines at WARN with this text.
    #[expect(clippy::unused_self, reason = "the log exists from `listen` on")]
    fn warnings(self, text: &str) -> Vec<String> {
        let log = LOG.with_borrow(|log| String::from_utf8(log.clone()).expect("text"));
        let lines = log.lines().filter(|line| line.contains("WARN") && line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}

/// One subscriber for the process: those of single threads race for what tracing caches of each place that
/// logs.
fn listen() -> Log {
    static SUBSCRIBER: Once = Once::new();
    SUBSCRIBER.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Log).finish();
        tracing::subscriber::set_global_default(subscriber).expect("the only one");
    });
    Log
}

#[tokio::test]
async fn a_server_that_refuses_to_refresh_is_reported_once_until_a_refresh_succeeds() {
    let log = listen();
    let refused =
        || Failure::Error(error(AuthenticationErrorKind::Refused("invalid_scope".into()), Some(400)));
    let world = World::with_token(Storage::None, true).await;
    for round in 2..5 {
        world.issuer.fail([refused()]);
        world.expire();
        assert_eq!(world.token().await, format!("t{round}"));
    }
    let told = log.warnings("scope_on_refresh");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("invalid_scope"), "{told:?}");

    world.expire();
    world.token().await;
    world.issuer.fail([refused()]);
    world.expire();
    world.token().await;
    assert_eq!(log.warnings("scope_on_refresh").len(), 2);
}

#[tokio::test]
async fn a_dead_refresh_token_is_no_reason_to_warn_of_the_scope() {
    let log = listen();
    let world = World::with_token(Storage::None, true).await;
    let dead = error(AuthenticationErrorKind::Refused("invalid_grant".into()), Some(400));
    world.issuer.fail([Failure::Error(dead)]);
    world.expire();
    world.token().await;
    assert!(log.warnings("").is_empty(), "{:?}", log.warnings(""));
}

#[tokio::test]
async fn the_log_names_retry_after_as_the_cause_and_when_the_next_attempt_comes() {
    let log = listen();
    let world = World::with_token(Storage::Memory, true).await;
    let busy = error(AuthenticationErrorKind::Status, Some(503)).with_retry_after(Duration::from_secs(3600));
    world.issuer.fail([Failure::Error(busy)]);
    world.expire();
    world.manager.get_token().await.expect_err("the server asked for patience");
    let told = log.warnings("Retry-After");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("next_attempt_in=300s") && told[0].contains("retry_after=3600s"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn inv25_a_hook_that_fails_is_reported_once_and_shows_no_token() {
    let log = listen();
    World::build(Storage::None, true, |builder| builder.on_refresh_token(|_| std::future::pending())).await;
    let told = log.warnings("");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("on_refresh_token") && told[0].contains("on_refresh_token_timeout"), "{told:?}");
    assert!(!told[0].contains("r1") && !told[0].contains("t1"), "{told:?}");
}
