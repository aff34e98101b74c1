//! The lines that `with_logging` writes, as a subscriber prints them.

use std::io;
use std::sync::{Arc, Mutex};

use forge_tests::RawReply;
use requestforge::reqwest::ClientBuilder;
use requestforge::{CorrelationId, HttpClient, Logging};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{client, lock, origin};

/// What this thread logs, and so a test on a runtime of one thread.
struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _subscriber: DefaultGuard,
}

impl Log {
    fn begin() -> Self {
        let written = Arc::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Writer(Arc::clone(&written)))
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .without_time()
            .finish();
        Self { written, _subscriber: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last time, without what differs from run to run.
    fn take(&self) -> Vec<String> {
        let written = String::from_utf8(std::mem::take(&mut *lock(&self.written))).expect("a text");
        let constant = |part: &&str| !part.starts_with("elapsed_ms=");
        written.lines().map(|line| line.split(' ').filter(constant).collect::<Vec<_>>().join(" ")).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        Sink(Arc::clone(&self.0))
    }
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn complete() -> Logging {
    Logging::new().log_headers(true).log_body(true)
}

#[tokio::test]
async fn each_attempt_has_a_line() {
    let server =
        origin([RawReply::status(503), RawReply::redirect(302, "/next?code=secret"), RawReply::status(404)])
            .await;
    let url = server.url();
    let client = client(&server)
        .with_logging(Logging::new())
        .with_request_hook(CorrelationId::new().generate_with(|| "c0ffee".into()))
        .build()
        .expect("a client");
    let log = Log::begin();
    let response = client.get("/x?token=secret#secret").send().await.expect("an answer");
    let line = |level: &str, path: &str, attempt: u32, status: u16| {
        format!(
            "{level} forge_client::logging: answered method=GET url=\"{url}{path}\" attempt={attempt} \
             correlation_id=\"c0ffee\" status={status}"
        )
    };
    let lines = log.take();
    assert_eq!(
        lines,
        [line(" WARN", "/x", 1, 503), line(" INFO", "/x", 2, 302), line(" WARN", "/next", 3, 404),]
    );
    response.text().await.expect("a body");
    assert_eq!(log.take(), [""; 0], "bodies were not asked for");
}

#[tokio::test]
async fn an_attempt_without_an_answer_has_a_line_with_the_reason() {
    let server = origin([]).await;
    let url = server.url();
    let client = client(&server).with_logging(Logging::new()).build().expect("a client");
    let _port = server.stop().await.expect("stopped");
    let log = Log::begin();
    client.get("/x?token=secret").send().await.expect_err("nobody there");
    let lines = log.take();
    assert_eq!(lines.len(), 4, "one for each attempt: {lines:?}");
    for (line, attempt) in lines.iter().zip(1..) {
        let start = format!(
            " WARN forge_client::logging: no answer method=GET url=\"{url}/x\" attempt={attempt} error=no connection"
        );
        assert!(line.starts_with(&start), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
}

#[tokio::test]
async fn nothing_is_logged_unasked() {
    let server = origin([]).await;
    let client = client(&server).build().expect("a client");
    let log = Log::begin();
    client.get("/x").send().await.expect("an answer").text().await.expect("a body");
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test]
async fn inv16_headers_and_bodies_are_told_and_masked() {
    let reply = RawReply::ok(r#"{"access_token":"s3cret-1","echo":"s3cret-key","name":"Ada"}"#)
        .with_header("content-type", "application/json")
        .with_header("set-cookie", "sid=s3cret-2")
        .with_header("x-echo", "key s3cret-key")
        .with_header("date", "today");
    let server = origin([reply]).await;
    let url = server.url();
    let client =
        client(&server).with_api_key("s3cret-key").with_logging(complete()).build().expect("a client");
    let log = Log::begin();
    let request = client.post("/x").json(&serde_json::json!({ "password": "s3cret-3", "name": "Ada" }));
    let response = request.send().await.expect("an answer");
    let body = response.text().await.expect("a body");
    assert!(body.contains("s3cret-1") && body.contains("s3cret-key"), "the caller's is whole: {body}");
    let lines = log.take();
    assert_eq!(lines.len(), 2, "{lines:?}");
    for part in [
        format!("answered method=POST url=\"{url}/x\" attempt=1 status=200 "),
        r#"content-type: \"application/json\""#.into(),
        "x-api-key: ***".into(),
        r#"request_body="{\"name\":\"Ada\",\"password\":\"***\"}""#.into(),
        "set-cookie: ***".into(),
        r#"x-echo: \"***\""#.into(),
        r#"date: \"today\""#.into(),
    ] {
        assert!(lines[0].contains(&part), "{part} in {}", lines[0]);
    }
    assert_eq!(
        lines[1],
        format!(
            " INFO forge_client::logging: read method=POST url=\"{url}/x\" attempt=1 \
             response_body=\"{{\\\"access_token\\\":\\\"***\\\",\\\"echo\\\":\\\"***\\\",\\\"name\\\":\\\"Ada\\\"}}\""
        )
    );
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
}

#[tokio::test]
async fn bodies_that_are_long_or_have_no_names_are_told_by_their_length() {
    let lengthy = format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000));
    let server = origin([
        RawReply::ok("just text").with_header("content-type", "text/plain"),
        RawReply::ok(lengthy.clone()).with_header("content-type", "application/json"),
    ])
    .await;
    let client = client(&server).with_logging(complete().max_body(100)).build().expect("a client");
    let log = Log::begin();
    for expected in
        ["response_body=\"9 bytes\"".to_owned(), format!("response_body=\"{} bytes\"", lengthy.len())]
    {
        client.get("/x").send().await.expect("an answer").bytes().await.expect("a body");
        let lines = log.take();
        assert!(lines[1].ends_with(&expected), "{lines:?}");
    }
}

/// Sends the second half of its answer when it is told to.
async fn hesitant_server(listener: TcpListener, go_on: oneshot::Receiver<()>) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        stream.read_buf(&mut read).await.expect("a request");
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{\"a\":";
    stream.write_all(head.as_bytes()).await.expect("a connection");
    go_on.await.expect("a word");
    stream.write_all(b"\"b\"}").await.expect("a connection");
}

#[tokio::test]
async fn a_body_that_is_logged_stays_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (go_on, told) = oneshot::channel();
    let server = tokio::spawn(hesitant_server(listener, told));
    let builder = HttpClient::builder(url).with_http(ClientBuilder::no_proxy).with_logging(complete());
    let client = builder.build().expect("a client");
    let log = Log::begin();
    let mut response = client.get("/x").send().await.expect("an answer");
    // Would wait for ever if the log read ahead.
    assert_eq!(response.chunk().await.expect("a chunk").as_deref(), Some(&b"{\"a\":"[..]));
    assert_eq!(log.take().len(), 1, "not read yet");
    go_on.send(()).expect("the server waits");
    assert_eq!(response.chunk().await.expect("a chunk").as_deref(), Some(&b"\"b\"}"[..]));
    drop(response);
    assert!(log.take()[0].ends_with(r#"response_body="{\"a\":\"b\"}""#));
    server.await.expect("a server");
}
