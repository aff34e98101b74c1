use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use url::Url;

use super::*;
use crate::HttpClientError;

/// Keeps the log lines of this thread, from a level on.
#[derive(Clone)]
struct RecordedEvents {
    max: Level,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Subscriber for RecordedEvents {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.max
    }

    fn event(&self, event: &Event<'_>) {
        struct Fields(String);
        impl Visit for Fields {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                let _ = write!(self.0, " {field}={value:?}");
            }
        }
        let mut fields = Fields(event.metadata().level().to_string());
        event.record(&mut fields);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(fields.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The lines that `act` logs at this level and above.
fn logged_from(max: Level, act: impl FnOnce()) -> Vec<String> {
    let recorded = RecordedEvents { max, lines: Arc::default() };
    let lines = Arc::clone(&recorded.lines);
    tracing::subscriber::with_default(recorded, act);
    std::mem::take(&mut *lines.lock().unwrap())
}

fn begin(logging: &Logging, body: Option<&'static str>) -> Option<LogEntry<'static>> {
    static TRUST: Trust =
        Trust { origins: Vec::new(), sensitive_names: Vec::new(), public_names: Vec::new() };
    let url = Url::parse("https://a.example/x?canary=canary").unwrap();
    let mut request = Request::new(Method::POST, url.clone());
    request.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    request.headers_mut().insert("x-api-key", HeaderValue::from_static("canary"));
    *request.body_mut() = body.map(Into::into);
    logging.begin(&request, &url.into(), &TRUST, 2, &Extensions::new(), None)
}

fn response(status: u16, body: impl Into<reqwest::Body>) -> reqwest::Response {
    http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("x-echo", "canary")
        .body(body.into())
        .unwrap()
        .into()
}

fn complete() -> Logging {
    Logging::new().log_headers(true).log_body(true)
}

/// The line without the duration.
fn timeless(line: &str) -> String {
    line.split(' ').filter(|part| !part.starts_with("elapsed_ms=")).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_is_begun_while_nobody_listens() {
    assert!(begin(&complete(), None).is_none());
    let only_errors = logged_from(Level::ERROR, || {
        assert!(begin(&complete(), None).is_none());
    });
    assert_eq!(only_errors, [""; 0]);
}

#[test]
fn an_answer_is_told_in_one_line() {
    let lines = logged_from(Level::INFO, || {
        for status in [200, 302, 404, 503] {
            let entry = begin(&Logging::new(), Some("{}")).unwrap();
            drop(entry.log_response(response(status, "{}"), Duration::from_millis(12)));
        }
    });
    let expected = [("INFO", 200), ("INFO", 302), ("WARN", 404), ("WARN", 503)].map(|(level, status)| {
        format!("{level} message=response received method=POST url=\"https://a.example/x\" attempt=2 status={status} elapsed_ms=12.0")
    });
    assert_eq!(lines, expected);
}

#[test]
fn a_failure_is_told_with_its_causes() {
    let lines = logged_from(Level::WARN, || {
        let error = HttpClientError::hook("down".into());
        begin(&complete(), Some(r#"{"a":1}"#)).unwrap().log_error(&error, Duration::ZERO);
    });
    assert_eq!(lines.len(), 1);
    for part in ["WARN message=no response", "a hook stopped the call", "request_body=\"{\\\"a\\\":1}\""] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
}

#[test]
fn inv16_headers_and_bodies_are_told_if_asked_for_and_masked() {
    let lines = logged_from(Level::INFO, || {
        let entry = begin(&complete(), Some(r#"{"password":"canary","a":1}"#)).unwrap();
        drop(entry.log_response(response(200, ""), Duration::ZERO));
    });
    assert_eq!(
        lines.iter().map(|line| timeless(line)).collect::<Vec<_>>(),
        ["INFO message=response received method=POST url=\"https://a.example/x\" attempt=2 status=200 \
         request_headers=\"content-type: \\\"application/json\\\", x-api-key: ***\" \
         request_body=\"{\\\"a\\\":1,\\\"password\\\":\\\"***\\\"}\" \
         response_headers=\"content-type: \\\"application/json\\\", x-echo: ***\"",]
    );
}

/// The body as the reader gets it, and as the log shows it.
async fn read(logging: &Logging, body: &'static str, pieces: usize) -> (String, String) {
    let recorded = RecordedEvents { max: Level::INFO, lines: Arc::default() };
    let lines = Arc::clone(&recorded.lines);
    let _guard = tracing::subscriber::set_default(recorded);
    let mut response = begin(logging, None).unwrap().log_response(response(200, body), Duration::ZERO);
    let mut read = Vec::new();
    for _ in 0..pieces {
        let Some(piece) = response.chunk().await.unwrap() else { break };
        read.extend_from_slice(&piece);
    }
    drop(response);
    let line = lines.lock().unwrap().pop().unwrap();
    let told =
        line.split_once("response_body=").map_or("", |(_, told)| told).trim_matches('"').replace('\\', "");
    (String::from_utf8(read).unwrap(), told)
}

#[tokio::test]
async fn a_body_is_told_when_it_was_read_and_reaches_its_reader_untouched() {
    let body = r#"{"token":"canary","a":"x"}"#;
    let masked = r#"{"a":"x","token":"***"}"#;
    let all = usize::MAX;
    assert_eq!(read(&complete(), body, all).await, (body.to_owned(), masked.to_owned()));
    assert_eq!(read(&complete().max_body(26), body, all).await.1, masked);
    assert_eq!(read(&complete().max_body(25), body, all).await, (body.to_owned(), "26 bytes".into()));
    assert_eq!(read(&complete().max_body(0), body, all).await.1, "26 bytes");
    let long = |length: usize| &*format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8)).leak();
    let unlimited = complete().max_body(usize::MAX);
    assert_eq!(read(&unlimited, long(65_536), all).await.1, long(65_536));
    assert_eq!(read(&unlimited, long(65_537), all).await.1, "65537 bytes");
    assert_eq!(read(&complete(), body, 0).await.1, "", "nobody reads it, so nobody is told");
}
