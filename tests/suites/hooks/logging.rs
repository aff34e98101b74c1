//! The lines that `with_logging` writes, as a subscriber prints them.

use forge_tests::RawReply;
use requestforge::reqwest::ClientBuilder;
use requestforge::{CorrelationId, HttpClient, Logging};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::log::Log;
use crate::world::{client, origin};

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
            "{level} forge_client::logging: response received method=GET url=\"{url}{path}\" attempt={attempt} \
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
            " WARN forge_client::logging: no response method=GET url=\"{url}/x\" attempt={attempt} error=could not connect"
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
        format!("response received method=POST url=\"{url}/x\" attempt=1 status=200 "),
        r#"content-type: \"application/json\""#.into(),
        "x-api-key: ***".into(),
        r#"request_body="{\"name\":\"Ada\",\"password\":\"***\"}""#.into(),
        "set-cookie: ***".into(),
        "x-echo: ***".into(),
        r#"date: \"today\""#.into(),
    ] {
        assert!(lines[0].contains(&part), "{part} in {}", lines[0]);
    }
    assert_eq!(
        lines[1],
        format!(
            " INFO forge_client::logging: response body read method=POST url=\"{url}/x\" attempt=1 \
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

/// Sends the second half of its answer when the test says so.
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
    // If the log read ahead, this would wait for ever.
    assert_eq!(response.chunk().await.expect("a chunk").as_deref(), Some(&b"{\"a\":"[..]));
    assert_eq!(log.take().len(), 1, "not read yet");
    go_on.send(()).expect("the server waits");
    assert_eq!(response.chunk().await.expect("a chunk").as_deref(), Some(&b"\"b\"}"[..]));
    drop(response);
    assert!(log.take()[0].ends_with(r#"response_body="{\"a\":\"b\"}""#));
    server.await.expect("a server");
}

#[tokio::test]
async fn inv16_the_log_shows_only_values_of_headers_known_to_carry_no_credential() {
    let reply = || {
        RawReply::ok(r#"{"echo":"s3cret-crumb","sign":"s3cret-own","name":"Ada"}"#)
            .with_header("content-type", "application/json")
            .with_header("cst", "s3cret-cst")
            .with_header("retry-after", "0")
            .with_header("x-ratelimit-remaining", "7")
            .with_header("etag", "\"v1\"")
    };
    let server = origin([reply(), reply()]).await;
    let client = client(&server)
        .with_headers([("Jenkins-Crumb", "s3cret-crumb"), ("X-Forwarded-Client-Cert", "s3cret-cert")])
        .with_headers([("Accept", "text/x"), ("Cache-Control", "no-cache"), ("If-Match", "\"v0\"")])
        .with_logging(complete())
        .build()
        .expect("a client");
    let log = Log::begin();
    let request = || client.get("/x").header("CB-ACCESS-SIGN", "s3cret-own").header("API-Sign", "s3cret-2");
    let shown = request().to_curl().to_string();
    request().send().await.expect("an answer").text().await.expect("a body");
    let lines = log.take().concat();
    for part in [
        "cb-access-sign: ***",
        "api-sign: ***",
        "jenkins-crumb: ***",
        "x-forwarded-client-cert: ***",
        "cst: ***",
        r#"{\"echo\":\"***\",\"name\":\"Ada\",\"sign\":\"***\"}"#,
        r#"accept: \"text/x\""#,
        r#"cache-control: \"no-cache\""#,
        r#"if-match: \"\\\"v0\\\"\""#,
        r#"retry-after: \"0\""#,
        r#"x-ratelimit-remaining: \"7\""#,
        r#"etag: \"\\\"v1\\\"\""#,
    ] {
        assert!(lines.contains(part), "{part} in {lines}");
    }
    assert!(!lines.contains("s3cret") && !shown.contains("s3cret"), "{lines} {shown}");
    assert!(shown.contains("-H 'jenkins-crumb: ***'") && shown.contains("-H 'accept: text/x'"), "{shown}");
}
