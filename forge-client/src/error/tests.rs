use forge_core::AuthenticationErrorKind;

use super::*;
use crate::{
    ExponentialBackoffRetryStrategy, RetryOutcome, RetryStrategy, RetryableError, SimpleRetryStrategy,
};

fn is(error: &HttpClientError) -> [bool; 4] {
    [error.is_timeout(), error.is_connect(), error.is_tls(), error.is_max_retries()]
}

#[test]
fn what_main_prints_names_the_causes_in_one_line() {
    let refused = AuthenticationError::new("crm", AuthenticationErrorKind::Connect)
        .with_source(std::io::Error::other("cable cut"));
    let error = HttpClientError::from(refused.clone());
    assert_eq!(format!("{error:?}"), format!("authentication failed: {refused}: cable cut"));
    let error = HttpClientError::from(ConfigError::new("timeout", "a positive duration"));
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn after_retries_an_error_still_is_what_the_last_one_was() {
    for (kind, expected) in [
        (ErrorKind::Timeout, [true, false, false]),
        (ErrorKind::Connect, [false, true, false]),
        (ErrorKind::Tls, [false, true, true]),
        (ErrorKind::Exchange, [false, false, false]),
    ] {
        let last = HttpClientError::new(kind);
        assert_eq!(is(&last), [expected[0], expected[1], expected[2], false], "{kind:?}");
        assert!(last.is_of_the_exchange());
        let error = HttpClientError::max_retries(3, last);
        assert_eq!(is(&error), [expected[0], expected[1], expected[2], true], "{kind:?}");
        assert!(!error.is_of_the_exchange(), "it is not retried once more");
    }
}

#[test]
fn a_strategy_retries_the_chosen_errors_only() {
    use RetryableError::{Connect, Interrupted, NoToken, Timeout, Tls};
    let lack_of_token = |kind| HttpClientError::from(AuthenticationError::new("crm", kind));
    let failure = |error| match error {
        Connect => HttpClientError::new(ErrorKind::Connect),
        Tls => HttpClientError::new(ErrorKind::Tls),
        Timeout => HttpClientError::new(ErrorKind::Timeout),
        Interrupted => HttpClientError::new(ErrorKind::Exchange),
        NoToken => lack_of_token(AuthenticationErrorKind::Connect),
    };
    let all = [Connect, Tls, Timeout, Interrupted, NoToken];
    for error in all {
        let failure = failure(error);
        let outcome = RetryOutcome::Error(&failure);
        for chosen in all {
            let simple = SimpleRetryStrategy::new().retryable_errors([chosen]);
            let exponential = ExponentialBackoffRetryStrategy::new().retryable_errors([chosen]);
            let wants = [simple.delay_before_retry(1, &outcome), exponential.delay_before_retry(1, &outcome)];
            assert_eq!(wants.map(|delay| delay.is_some()), [error == chosen; 2], "{error:?} of {chosen:?}");
        }
        let none = SimpleRetryStrategy::new().retryable_errors([]);
        assert_eq!(none.delay_before_retry(1, &outcome), None);
        let default = SimpleRetryStrategy::new().delay_before_retry(1, &outcome);
        assert_eq!(default.is_some(), error != Tls, "{error:?}");
    }
    let lasting = lack_of_token(AuthenticationErrorKind::Configuration);
    let strategy = SimpleRetryStrategy::new().retryable_errors(all);
    assert_eq!(strategy.delay_before_retry(1, &RetryOutcome::Error(&lasting)), None);
}

#[test]
fn inv16_the_body_of_an_answer_is_not_shown() {
    let error = HttpClientError::status(StatusCode::CONFLICT).with_body("canary".into()).after(3);
    assert_eq!((error.body(), error.attempts()), (Some(&b"canary"[..]), 3));
    assert!(!format!("{error} {error:?} {error:#?}").contains("canary"));
}

#[test]
fn a_tls_failure_is_not_retried() {
    for (kind, retried) in [(ErrorKind::Tls, false), (ErrorKind::Connect, true), (ErrorKind::Timeout, true)] {
        let error = HttpClientError::new(kind);
        let delay = SimpleRetryStrategy::new().delay_before_retry(1, &RetryOutcome::Error(&error));
        assert_eq!(delay.is_some(), retried, "{kind:?}");
    }
}
