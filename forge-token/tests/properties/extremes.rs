//! Moments, lifetimes and windows that no sane clock or server has.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, ClockReading, TokenData, TokenProvider, async_trait,
};
use forge_token::TokenManager;
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::seed;

/// A clock at any moment.
#[derive(Debug)]
struct AnyClock(Mutex<ClockReading>);

impl Clock for AnyClock {
    fn now(&self) -> ClockReading {
        *self.0.lock().expect("unpoisoned")
    }
}

fn extremes() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -1_000..1_000_i64,
        Just(chrono::DateTime::<chrono::Utc>::MAX_UTC.timestamp_millis()),
        Just(chrono::DateTime::<chrono::Utc>::MIN_UTC.timestamp_millis()),
    ]
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, rng_seed: seed(), ..Config::default() })]

    #[test]
    fn inv10_no_moment_lifetime_or_window_overflows(
        moments in proptest::collection::vec((extremes(), extremes()), 1..8),
        expires_at in extremes(),
        issued_at in proptest::option::of(extremes()),
        advisory in any::<u64>(),
        mandatory in any::<u64>(),
        retry_after in proptest::option::of(any::<u64>()),
    ) {
        let date = |millis| {
            chrono::DateTime::from_timestamp_millis(millis).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC)
        };
        let mut token = TokenData::new("t").with_expires_at(date(expires_at));
        if let Some(issued_at) = issued_at {
            token = token.with_issued_at(date(issued_at));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let clock = Arc::new(AnyClock(Mutex::new(ClockReading::from_millis(0, 0))));
            let provider = Arc::new(AbsurdProvider { token, retry_after, failing: Mutex::new(false) });
            let manager = TokenManager::builder(Arc::clone(&provider))
                .clock(Arc::clone(&clock) as _)
                .advisory_window(Duration::from_secs(advisory))
                .mandatory_window(Duration::from_secs(mandatory))
                .build().expect("a manager");
            for (wall, monotonic) in moments {
                *clock.0.lock().expect("unpoisoned") = ClockReading::from_millis(wall, monotonic);
                let panicked = |error: &AuthenticationError| *error.kind() == AuthenticationErrorKind::Panicked;
                for fails in [false, true] {
                    *provider.failing.lock().expect("unpoisoned") = fails;
                    let got = manager.get_token().await;
                    prop_assert!(!got.is_err_and(|error| panicked(&error)));
                    tokio::task::yield_now().await;
                    let status = manager.status();
                    prop_assert!(!status.last_error.as_ref().is_some_and(panicked));
                    let forced = manager.force_refresh().await;
                    prop_assert!(!forced.is_err_and(|error| panicked(&error)));
                }
            }
            Ok(())
        })?;
    }
}

struct AbsurdProvider {
    token: TokenData,
    retry_after: Option<u64>,
    failing: Mutex<bool>,
}

#[async_trait]
impl TokenProvider for AbsurdProvider {
    fn service_name(&self) -> &'static str {
        "absurd"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        if !*self.failing.lock().expect("unpoisoned") {
            return Ok(self.token.clone());
        }
        let error = AuthenticationError::new("", AuthenticationErrorKind::Timeout);
        Err(match self.retry_after {
            Some(seconds) => error.with_retry_after(Duration::from_secs(seconds)),
            None => error,
        })
    }
}
