//! A request body that its own caller fails to provide.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use bytes::Bytes;
use forge_tests::{Origin, RawReply};
use http_body::Frame;
use http_body_util::StreamBody;
use requestforge::breaker::CircuitState;
use requestforge::{CircuitBreaker, HttpClient, SimpleRetryStrategy, reqwest};

#[derive(Debug)]
struct DiskFull;

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk is full")
    }
}

impl Error for DiskFull {}

/// The body sends one part, and then stops.
fn failing() -> reqwest::Body {
    let frames = [Ok(Frame::data(Bytes::from_static(b"a part"))), Err(DiskFull)];
    reqwest::Body::wrap(StreamBody::new(futures_util::stream::iter(frames)))
}

#[tokio::test]
async fn inv22_a_callers_stream_that_fails_says_nothing_of_the_server() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let breaker = CircuitBreaker::builder().failure_threshold(1).build().expect("a breaker");
    let client = HttpClient::builder(origin.url())
        .with_retry_strategy(SimpleRetryStrategy::new())
        .with_circuit_breaker(breaker.clone())
        .build()
        .expect("a client");
    let form = || reqwest::multipart::Form::new().part("file", reqwest::multipart::Part::stream(failing()));
    for request in [client.put("/").body_stream(failing()), client.put("/").multipart(form())] {
        let error = request.send().await.expect_err("half a body");
        assert!(error.is_request_body(), "{error:?}");
        assert!(!(error.is_max_retries() || error.is_connect() || error.is_timeout()), "{error:?}");
        assert!(error.source().is_some_and(<dyn Error>::is::<DiskFull>), "{:?}", error.source());
        assert!(!error.to_string().contains("disk"), "{error}");
        assert_eq!(breaker.state(&origin.url()).expect("a URL"), CircuitState::Closed);
    }
}

#[tokio::test]
async fn a_stream_is_told_as_long_as_it_is() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let client = HttpClient::builder(origin.url()).build().expect("a client");
    let known = http_body_util::Full::new(Bytes::from_static(b"streamed"));
    let frames = [Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"streamed")))];
    let unknown = StreamBody::new(futures_util::stream::iter(frames));
    client.put("/").body_stream(reqwest::Body::wrap(known)).send().await.expect("an answer");
    client.put("/").body_stream(reqwest::Body::wrap(unknown)).send().await.expect("an answer");
    let lengths: Vec<_> = origin.requests().iter().map(|request| request.header("content-length")).collect();
    assert_eq!(lengths, [Some("8".to_owned()), None]);
}
