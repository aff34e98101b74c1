//! A step repeats a call that failed transiently, once.

#![allow(clippy::expect_used, missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, FetchContext, SecretSource, TokenData, TokenFetcher,
    async_trait,
};
use forge_pipeline::{BodyTokenFetcher, HttpTokenFetcherBuilder, RequestValue};
use forge_token::{TokenConnection, TokenRequest, TokenResponse, TokenTransport};
use http::StatusCode;

/// The reaction of the endpoint to a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Token,
    Status(u16),
    HangUp,
    Silence,
}

type RequestLog = Vec<(TokenConnection, String, Option<Duration>)>;

/// An endpoint that gives one answer after the other, and then the last one again and again.
#[derive(Clone, Debug)]
struct Endpoint {
    answers: &'static [Answer],
    seen: Arc<Mutex<RequestLog>>,
}

impl Endpoint {
    fn with(answers: &'static [Answer]) -> Self {
        Self { answers, seen: Arc::default() }
    }

    fn seen(&self) -> RequestLog {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl TokenTransport for Endpoint {
    async fn call(&self, request: TokenRequest) -> Result<TokenResponse, AuthenticationError> {
        let answer = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let body = String::from_utf8_lossy(&request.body).into_owned();
            seen.push((request.connection, body, request.timeout));
            self.answers[(seen.len() - 1).min(self.answers.len() - 1)]
        };
        match answer {
            Answer::Token => Ok(TokenResponse::new(StatusCode::OK, r#"{"access_token":"t"}"#.into())),
            Answer::Status(status) => {
                Ok(TokenResponse::new(StatusCode::from_u16(status).expect("a status"), "".into()))
            }
            Answer::HangUp => {
                Err(AuthenticationError::new("", AuthenticationErrorKind::Connect).with_no_answer())
            }
            Answer::Silence => std::future::pending().await,
        }
    }
}

fn step(endpoint: &Endpoint) -> HttpTokenFetcherBuilder<forge_pipeline::InBody> {
    BodyTokenFetcher::builder("app_token", "https://auth.example.com", "/token").transport(endpoint.clone())
}

async fn fetch(
    step: HttpTokenFetcherBuilder<forge_pipeline::InBody>,
) -> Result<TokenData, AuthenticationError> {
    step.build().expect("a step").fetch(&FetchContext::new()).await
}

#[tokio::test(start_paused = true)]
async fn inv24_a_step_whose_connection_closed_is_called_once_more_on_a_new_one() {
    for first in [&[Answer::HangUp, Answer::Token], &[Answer::Status(500), Answer::Token]] {
        let endpoint = Endpoint::with(first);
        fetch(step(&endpoint)).await.expect("a token");
        let connections: Vec<_> = endpoint.seen().into_iter().map(|(connection, ..)| connection).collect();
        assert_eq!(connections, [TokenConnection::Any, TokenConnection::New]);
    }
}

#[tokio::test(start_paused = true)]
async fn inv08_a_step_that_is_down_sees_two_calls() {
    let endpoint = Endpoint::with(&[Answer::Status(500), Answer::Status(503)]);
    let error = fetch(step(&endpoint)).await.expect_err("it is down");
    assert_eq!(error.status(), Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(endpoint.seen().len(), 2);
    for status in [&[Answer::Status(429)], &[Answer::Status(401)]] {
        let endpoint = Endpoint::with(status);
        fetch(step(&endpoint)).await.expect_err("refused");
        assert_eq!(endpoint.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_of_a_step_reads_its_values_anew() {
    let endpoint = Endpoint::with(&[Answer::Status(500), Answer::Token]);
    let read = AtomicUsize::new(0);
    let secret = SecretSource::from_fn(move || {
        let number = read.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, std::convert::Infallible>(format!("secret{number}").into()) }
    });
    fetch(step(&endpoint).request_data([("secret", secret)])).await.expect("a token");
    let bodies: Vec<_> = endpoint.seen().into_iter().map(|(_, body, _)| body).collect();
    assert_eq!(bodies, ["secret=secret0", "secret=secret1"]);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_that_hangs_does_not_turn_the_error_of_a_step_into_a_time_out() {
    let endpoint = Endpoint::with(&[Answer::Status(502), Answer::Silence]);
    let limit = Duration::from_secs(2);
    let call = tokio::time::timeout(limit, fetch(step(&endpoint).timeout(limit)));
    let error = call.await.expect("it ends in time").expect_err("it is down");
    assert_eq!(error.status(), Some(StatusCode::BAD_GATEWAY));
    let limits: Vec<_> = endpoint.seen().into_iter().map(|(.., limit)| limit.expect("a limit")).collect();
    assert!(limits[0] == limit && limits[1] < limit, "{limits:?}");
}

#[tokio::test(start_paused = true)]
async fn inv25_a_step_that_sends_the_refresh_token_of_another_step_is_called_once() {
    type Data = fn(&FetchContext) -> Vec<(&'static str, RequestValue)>;

    fn refresh_token(context: &FetchContext) -> RequestValue {
        context.get_token("login").and_then(|token| token.refresh_token()).map(str::to_owned).into()
    }
    let ways: [Data; 3] = [
        |context| vec![("refresh_token", refresh_token(context)), ("grant_type", "refresh_token".into())],
        |context| vec![("renew", refresh_token(context))],
        |_| vec![("refreshToken", "from elsewhere".into())],
    ];
    let context = FetchContext::new().with_token("login", TokenData::new("t").with_refresh_token("once"));
    for answer in [&[Answer::HangUp], &[Answer::Status(500)]] {
        for way in ways {
            let endpoint = Endpoint::with(answer);
            let step = step(&endpoint).depends_on(["login"]).request_data_with(way).build().expect("a step");
            step.fetch(&context).await.expect_err("it is down");
            let connections: Vec<_> =
                endpoint.seen().into_iter().map(|(connection, ..)| connection).collect();
            assert_eq!(connections, [TokenConnection::New]);
        }
        let endpoint = Endpoint::with(answer);
        let header = |context: &FetchContext| [("X-Renew", refresh_token(context))];
        let step =
            step(&endpoint).depends_on(["login"]).request_headers_with(header).build().expect("a step");
        step.fetch(&context).await.expect_err("it is down");
        assert_eq!(endpoint.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn inv25_a_step_that_sends_a_refresh_token_is_called_once_on_a_new_connection() {
    for answer in [&[Answer::HangUp], &[Answer::Status(500)]] {
        let endpoint = Endpoint::with(answer);
        let step = step(&endpoint).request_data([("grant_type", "refresh_token"), ("refresh_token", "r")]);
        fetch(step).await.expect_err("it is down");
        let connections: Vec<_> = endpoint.seen().into_iter().map(|(connection, ..)| connection).collect();
        assert_eq!(connections, [TokenConnection::New]);
    }
}
