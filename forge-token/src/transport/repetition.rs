use std::time::Duration;

use forge_core::{AuthenticationError, OAuthErrorCode, random_fraction};
use http::StatusCode;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::TokenConnection;

/// The settings of one attempt at a token call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenAttempt {
    /// The connection to use.
    pub connection: TokenConnection,
    /// How long the attempt may take. `None`: the transport's own limit applies.
    pub timeout: Option<Duration>,
}

impl TokenAttempt {
    /// The only attempt of a call that must not be sent twice, such as one with a refresh token. It uses a new connection:
    /// if the server closed an idle one during the call, the client could not know whether the call arrived.
    #[must_use]
    pub fn only() -> Self {
        Self { connection: TokenConnection::New, timeout: None }
    }
}

/// Makes a token call, and repeats it once if the first attempt failed in a way that a second one may fix.
/// Use it only for calls that may be sent twice. Each attempt runs `attempt` again, which builds the request,
/// sends it with a [`TokenTransport`](super::TokenTransport) and reads the response, so that each attempt
/// reads the secrets again and makes new proofs.
///
/// | the first attempt | the second attempt |
/// | --- | --- |
/// | ended [without a response](AuthenticationError::is_unanswered) | at once, on a new connection: the server may have closed an idle one |
/// | failed [transiently](AuthenticationError::is_transient) within 0.5 s: status 408, 500 and above, no connection, a response that breaks off | after 50 to 150 ms, on a new connection |
/// | failed with a `Retry-After`, `slow_down` or another status below 500, by a time-out, permanently, or after more than 0.5 s | none |
///
/// `limit` is the time for the whole call. `None` leaves each attempt to the transport's own time-out. The second attempt
/// gets the time that the first one left. If less than 100 ms are left, or less than the first attempt took, the function
/// makes a second attempt only if the first one ended without a response. Outside of a tokio runtime the function cannot
/// pause, so it makes no second attempt that needs a pause.
///
/// # Errors
///
/// The error of the last attempt. If the second attempt times out, the error of the first one, which says more about the
/// cause.
pub async fn call_with_one_retry<T, F, Fut>(
    limit: Option<Duration>,
    attempt: F,
) -> Result<T, AuthenticationError>
where
    F: Fn(TokenAttempt) -> Fut,
    Fut: Future<Output = Result<T, AuthenticationError>>,
{
    let begun = Instant::now();
    let first = match attempt(TokenAttempt { connection: TokenConnection::Any, timeout: limit }).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    let Some(pause) = pause_after(&first, begun.elapsed()) else { return Err(first) };
    // Outside of a tokio runtime there is no timer. A user's transport may work without a runtime.
    let has_timer = Handle::try_current().is_ok();
    if !has_timer && !pause.is_zero() {
        return Err(first);
    }
    let timeout = match limit.map(|limit| time_left(limit, begun.elapsed(), pause)) {
        Some(None) => return Err(first),
        Some(left) => left,
        None => None,
    };
    tracing::debug!(error = %first, ?pause, "a token call failed; sending it once more");
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    let second = attempt(TokenAttempt { connection: TokenConnection::New, timeout });
    let second = match timeout.filter(|_| has_timer) {
        Some(timeout) => tokio::time::timeout(timeout, second).await.ok(),
        None => Some(second.await),
    };
    match second {
        Some(Err(error)) if error.is_timeout() => Err(first),
        Some(second) => second,
        None => Err(first),
    }
}

/// A failure that took longer than this comes from an overloaded server, which a second call at once would load more.
const MAX_FAST_FAILURE: Duration = Duration::from_millis(500);
/// The pause before the second attempt lets a restarting server or a gateway switch to another instance. It is short, since
/// a caller waits.
const MIN_PAUSE: Duration = Duration::from_millis(50);
/// The maximum of the random part, which is added to `MIN_PAUSE`.
const MAX_EXTRA_PAUSE: Duration = Duration::from_millis(100);
/// With less time than this a call with a TLS handshake hardly succeeds.
const MIN_TIME_LEFT: Duration = Duration::from_millis(100);

/// The pause before a second attempt. `None`: there is no second attempt.
fn pause_after(error: &AuthenticationError, elapsed: Duration) -> Option<Duration> {
    if error.is_unanswered() {
        return Some(Duration::ZERO);
    }
    let asks_for_patience = error.retry_after().is_some()
        || error.cool_down().is_some()
        || error.status().is_some_and(|status| !is_momentary_status(status))
        || matches!(error.oauth_error_code(), Some(OAuthErrorCode::Other(code)) if code == "slow_down");
    let is_fast = error.is_transient() && !error.is_timeout() && elapsed <= MAX_FAST_FAILURE;
    // Many processes may have failed at the same moment. The random part keeps them from retrying at the same moment.
    (is_fast && !asks_for_patience).then(|| MIN_PAUSE + MAX_EXTRA_PAUSE.mul_f64(random_fraction()))
}

/// Whether the server may respond differently a moment later. A 4xx is its final verdict, or asks to wait,
/// as a 429 does. The code in the body does not change that.
fn is_momentary_status(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
}

/// The time for a second attempt. `None`: too little is left. A tenth stays unused: otherwise the caller's own deadline
/// could come first, and would replace the first error by a time-out.
fn time_left(limit: Duration, elapsed: Duration, pause: Duration) -> Option<Duration> {
    let left = limit.saturating_sub(elapsed).saturating_sub(pause);
    let left = left / 10 * 9;
    // A closed connection is no sign of a slow server, so any time is enough.
    let enough = if pause.is_zero() { Duration::from_millis(1) } else { MIN_TIME_LEFT.max(elapsed) };
    (left >= enough).then_some(left)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Mutex;

    use forge_core::AuthenticationErrorKind as Kind;

    use super::*;

    fn error(kind: Kind) -> AuthenticationError {
        AuthenticationError::new("s", kind)
    }

    fn status(status: StatusCode) -> AuthenticationError {
        error(Kind::Status).with_status(status)
    }

    #[test]
    fn inv08_only_what_failed_fast_and_transiently_is_repeated() {
        let fast = MAX_FAST_FAILURE;
        let pause = |error: AuthenticationError| pause_after(&error, fast);
        for repeated in [
            status(StatusCode::INTERNAL_SERVER_ERROR),
            status(StatusCode::SERVICE_UNAVAILABLE),
            status(StatusCode::REQUEST_TIMEOUT),
            // A gateway's 503 is no verdict, even if its body quotes an error code.
            error(Kind::Refused(OAuthErrorCode::InvalidGrant)).with_status(StatusCode::SERVICE_UNAVAILABLE),
            error(Kind::Connect).with_nothing_sent(),
            error(Kind::UnreadableResponse),
        ] {
            let told = repeated.to_string();
            let slow = pause_after(&repeated, MAX_FAST_FAILURE + Duration::from_millis(1));
            assert_eq!(slow, None, "{told}");
            let pause = pause(repeated).expect(&told).as_millis();
            assert!((50..=150).contains(&pause), "{told}: {pause}");
        }
        for given_up in [
            status(StatusCode::TOO_MANY_REQUESTS),
            status(StatusCode::SERVICE_UNAVAILABLE).with_retry_after(Duration::ZERO),
            status(StatusCode::INTERNAL_SERVER_ERROR).with_cool_down(Duration::ZERO),
            status(StatusCode::UNAUTHORIZED),
            error(Kind::Refused(OAuthErrorCode::Other("slow_down".to_owned()))),
            error(Kind::Refused(OAuthErrorCode::Other("temporarily_unavailable".to_owned())))
                .with_status(StatusCode::UNAUTHORIZED),
            error(Kind::Refused(OAuthErrorCode::InvalidGrant)).with_status(StatusCode::INTERNAL_SERVER_ERROR),
            error(Kind::Timeout),
            error(Kind::InvalidResponse),
            error(Kind::Configuration),
        ] {
            assert_eq!(pause(given_up.clone()), None, "{given_up}");
        }
        let closed = error(Kind::Connect).with_no_answer();
        assert_eq!(pause_after(&closed, Duration::from_secs(9)), Some(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_attempt_gets_what_the_first_left_of_the_time() {
        let attempts = Mutex::new(Vec::new());
        let attempt = |attempt| {
            attempts.lock().unwrap().push(attempt);
            async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err::<(), _>(status(StatusCode::BAD_GATEWAY))
            }
        };
        let error = call_with_one_retry(Some(Duration::from_secs(1)), attempt).await.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY));
        let attempts = attempts.into_inner().unwrap();
        assert_eq!(attempts.len(), 2);
        let first = TokenAttempt { connection: TokenConnection::Any, timeout: Some(Duration::from_secs(1)) };
        assert_eq!(attempts[0], first);
        assert_eq!(attempts[1].connection, TokenConnection::New);
        let left = attempts[1].timeout.unwrap().as_millis();
        assert!((585..=675).contains(&left), "{left}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_attempt_without_time_does_not_turn_the_error_into_a_time_out() {
        // No time for a second attempt, a second attempt that hangs, and one that reports a time-out.
        for (limit, too_late) in [(150, false), (1_000, false), (1_000, true)] {
            let attempt = |attempt: TokenAttempt| async move {
                match attempt.connection {
                    TokenConnection::New if too_late => Err(error(Kind::Timeout)),
                    TokenConnection::New => pending().await,
                    TokenConnection::Any => ready(Err::<(), _>(status(StatusCode::BAD_GATEWAY))).await,
                }
            };
            let limit = Duration::from_millis(limit);
            let call = tokio::time::timeout(limit, call_with_one_retry(Some(limit), attempt));
            let error = call.await.expect("it ends in time").unwrap_err();
            assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY), "{limit:?}");
        }
    }

    #[test]
    fn without_a_runtime_nothing_panics_and_the_first_error_is_told() {
        use std::pin::pin;
        use std::task::{Context, Poll, Waker};

        let calls = std::cell::Cell::new(0);
        let call = call_with_one_retry(None, |_| {
            calls.set(calls.get() + 1);
            ready(Err::<(), _>(status(StatusCode::BAD_GATEWAY)))
        });
        let Poll::Ready(result) = pin!(call).poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits");
        };
        assert_eq!(result.unwrap_err().status(), Some(StatusCode::BAD_GATEWAY));
        assert_eq!(calls.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn inv24_also_a_short_call_is_made_once_more_after_a_closed_connection() {
        let calls = std::cell::Cell::new(0);
        let called = call_with_one_retry(Some(Duration::from_millis(100)), |_| {
            calls.set(calls.get() + 1);
            let is_first = calls.get() == 1;
            ready(if is_first { Err(error(Kind::Connect).with_no_answer()) } else { Ok(()) })
        });
        called.await.unwrap();
        assert_eq!(calls.get(), 2);
    }
}
