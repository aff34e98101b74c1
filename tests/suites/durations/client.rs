use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::breaker::CircuitBreakerBuilder;
use requestforge::client::HttpClientBuilder;
use requestforge::{CircuitBreaker, HttpClient, HttpClientError, HttpResponse, blocking};

use crate::extremes::{EXTREMES, LEAST, used};
use crate::setting::Setting;

type Setter = fn(HttpClientBuilder, Duration) -> HttpClientBuilder;
type BreakerSetter = fn(CircuitBreakerBuilder, Duration) -> CircuitBreakerBuilder;

const SETTINGS: [(&str, Setter, Setting); 6] = [
    ("timeout", HttpClientBuilder::with_timeout, Setting::Positive("timeout")),
    ("total_timeout", HttpClientBuilder::with_total_timeout, Setting::Positive("total_timeout")),
    ("connect_timeout", HttpClientBuilder::with_connect_timeout, Setting::Positive("connect_timeout")),
    ("pool_idle_timeout", HttpClientBuilder::with_pool_idle_timeout, Setting::Any),
    ("max_retry_after", HttpClientBuilder::with_max_retry_after, Setting::Any),
    ("max_cool_down", HttpClientBuilder::with_max_cool_down, Setting::Any),
];

/// A server that asks for one second's delay at `/busy`, fails at `/failing`, and answers well at other paths.
async fn origin() -> Origin {
    let reply = |request: &forge_tests::RecordedRequest| match request.target() {
        "/busy" => RawReply::status(503).with_header("Retry-After", "1"),
        "/failing" => RawReply::status(500),
        _ => RawReply::ok("well"),
    };
    Origin::start(reply).await.expect("a server")
}

/// Whether the call succeeded, or failed because its duration is the least one.
fn is_sane(value: Duration, outcome: &Result<HttpResponse, HttpClientError>) -> bool {
    match outcome {
        Ok(response) => response.is_success(),
        Err(error) => value == LEAST && (error.is_timeout() || error.is_connect()),
    }
}

#[tokio::test]
async fn every_setting_of_a_client_takes_zero_the_least_and_the_most() {
    let origin = origin().await;
    for (name, set, setting) in SETTINGS {
        for value in EXTREMES {
            let case = format!("{name}: {value:?}");
            let builder = set(HttpClient::builder(origin.url()).with_retry(1), value);
            let built = builder.build();
            let Some(client) = setting.built(&case, value, built) else {
                continue;
            };
            used(&case, async {
                // The second request uses the same connection, if the client kept it.
                for _ in 0..2 {
                    let outcome = client.get("/").send().await;
                    assert!(is_sane(value, &outcome), "{case}: {outcome:?}");
                    if let Ok(response) = outcome {
                        response.text().await.expect("a body");
                    }
                }
                // The client retries this once, and then returns it.
                let _ = client.get("/busy").send().await;
            })
            .await;
        }
    }
}

#[tokio::test]
async fn every_time_out_of_a_request_takes_zero_the_least_and_the_most() {
    let origin = origin().await;
    let client = HttpClient::builder(origin.url()).build().expect("a client");
    for value in EXTREMES {
        for (name, request) in [
            ("timeout", client.get("/").timeout(value)),
            ("total_timeout", client.get("/").total_timeout(value)),
        ] {
            let case = format!("{name}: {value:?}");
            let outcome = used(&case, request.send()).await;
            if value.is_zero() {
                let error = outcome.expect_err("a time-out of zero");
                assert_eq!(error.config_error().map(requestforge::ConfigError::field), Some(name));
            } else {
                assert!(is_sane(value, &outcome), "{case}: {outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn every_duration_of_a_breaker_takes_zero_the_least_and_the_most() {
    let origin = origin().await;
    let settings: [(&'static str, BreakerSetter); 2] = [
        ("open_for", CircuitBreakerBuilder::open_for),
        ("failure_rate", |builder, window| builder.failure_rate(0.5, 1, window)),
    ];
    for (name, set) in settings {
        for value in EXTREMES {
            let case = format!("{name}: {value:?}");
            let built = set(CircuitBreaker::builder().failure_threshold(1), value).build();
            let Some(breaker) = Setting::Positive(name).built(&case, value, built) else { continue };
            used(&case, async {
                let client = HttpClient::builder(origin.url()).with_circuit_breaker(breaker);
                let client = client.with_retry(1).build().expect("a client");
                client.get("/").send().await.expect("an answer");
                for _ in 0..3 {
                    match client.get("/failing").send().await {
                        Ok(response) => assert_eq!(response.status_code().as_u16(), 500, "{case}"),
                        Err(error) => assert!(error.is_circuit_open(), "{case}: {error:?}"),
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocking_client_takes_zero_the_least_and_the_most() {
    let origin = origin().await;
    for value in EXTREMES {
        let url = origin.url();
        let send = move || {
            let builder = blocking::HttpClient::builder(url).with_pool_idle_timeout(value);
            let value = value.max(LEAST);
            let builder = builder.with_timeout(value).with_connect_timeout(value).with_total_timeout(value);
            let client = builder.build()?;
            client.get("/").send()?.text()?;
            client.get("/").send()?.text()
        };
        let (told, outcome) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || told.send(send()));
        let case = format!("{value:?}");
        let outcome = used(&case, outcome).await.expect("no panic");
        assert!(outcome.is_ok() || value != Duration::MAX, "{case}: {outcome:?}");
    }
}
