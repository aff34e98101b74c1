//! The parts of a request, and the parts of a response.

#![allow(clippy::expect_used)]

mod bodies;
mod headers;
#[path = "../hooks/log.rs"]
mod log;
mod proxies;
mod warnings;
mod with_http;

use forge_tests::{Origin, RawReply};
use futures_util::TryStreamExt;
use requestforge::client::RequestBuilder;
use requestforge::reqwest::multipart::{Form, Part};
use requestforge::{ConfigError, HttpClient, HttpClientError, HttpResponse, SimpleRetryStrategy};

async fn origin(reply: RawReply) -> Origin {
    Origin::start(move |_| reply.clone()).await.expect("a server")
}

fn client(origin: &Origin) -> HttpClient {
    HttpClient::builder(origin.url()).build().expect("a client")
}

async fn response(reply: RawReply, max_body: usize) -> HttpResponse {
    let origin = origin(reply).await;
    let client = HttpClient::builder(origin.url()).with_max_body(max_body).build().expect("a client");
    client.get("/").send().await.expect("an answer")
}

/// 1,000 bytes, with their length in a header and without it.
fn thousand() -> [RawReply; 2] {
    let chunks = format!("1f4\r\n{0}\r\n1f4\r\n{0}\r\n0\r\n\r\n", "x".repeat(500));
    [RawReply::ok("x".repeat(1_000)), RawReply::ok(chunks).with_header("transfer-encoding", "chunked")]
}

#[tokio::test]
async fn an_error_of_a_status_has_the_body_that_the_caller_asked_for() {
    let conflict = || RawReply::status(409).with_body(r#"{"code":"canary"}"#);
    let error = response(conflict(), 10).await.error_for_status_with_body().await.expect_err("a conflict");
    assert!(error.is_status() && error.status_code().is_some_and(|status| status == 409));
    assert_eq!((error.body(), error.attempts()), (Some(&br#"{"code":"canary"}"#[..]), 1));
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    let error = response(conflict(), 10).await.error_for_status().expect_err("a conflict");
    assert_eq!((error.body(), error.attempts()), (None, 1), "the caller did not ask for the body");
    let whole = response(RawReply::ok("whole"), 10).await.error_for_status_with_body().await;
    assert_eq!(whole.expect("no error").text().await.expect("a body"), "whole");

    // The error holds at most 64 KiB of the body, and the first part of a body that breaks off.
    let long = RawReply::status(500).with_body("x".repeat(100_000));
    let error = response(long, usize::MAX).await.error_for_status_with_body().await.expect_err("an error");
    assert_eq!(error.body().map(<[u8]>::len), Some(64 * 1024));
    let broken = RawReply::status(500).with_body("begun").with_header("content-length", "10");
    let error = response(broken, usize::MAX).await.error_for_status_with_body().await.expect_err("an error");
    assert_eq!(error.body(), Some(&b"begun"[..]));
}

#[tokio::test]
async fn an_error_says_how_many_requests_were_sent() {
    let client = |origin: &Origin| {
        let strategy = SimpleRetryStrategy::new().max_retries(2).delay(std::time::Duration::ZERO);
        HttpClient::builder(origin.url()).with_retry_strategy(strategy).build().expect("a client")
    };
    let busy = origin(RawReply::status(503)).await;
    let error = client(&busy).get("/").send().await.expect("an answer").error_for_status();
    assert_eq!(error.expect_err("busy").attempts(), 3);
    let dead = origin(RawReply::hang_up()).await;
    let error = client(&dead).get("/").send().await.expect_err("no answer");
    assert!(error.is_max_retries());
    assert_eq!((error.attempts(), dead.requests().len()), (3, 3));
    let error = client(&dead).get("/").header("x-bad", "a\nb").send().await.expect_err("no request");
    assert_eq!(error.attempts(), 0);
    let garbage = origin(RawReply::ok("no JSON")).await;
    let response = client(&garbage).get("/").send().await.expect("an answer");
    let error = response.json::<u8>().await.expect_err("no JSON");
    assert!(error.is_parse() && error.attempts() == 1);
}

#[tokio::test]
async fn a_body_in_memory_is_bounded() {
    for reply in thousand() {
        for (most, fits) in [(0, false), (499, false), (999, false), (1_000, true), (usize::MAX, true)] {
            let results = [
                response(reply.clone(), most).await.bytes().await.map(|body| body.len()),
                response(reply.clone(), most).await.text().await.map(|body| body.len()),
            ];
            for result in results {
                match result {
                    Ok(length) => assert!(fits && length == 1_000, "{most}"),
                    Err(error) => assert!(!fits && error.is_body_too_large(), "{most}: {error:?}"),
                }
            }
            let json = response(reply.clone(), most).await.json::<String>().await.expect_err("no JSON");
            assert_eq!((json.is_parse(), json.is_body_too_large()), (fits, !fits), "{most}");
        }
    }
    let error = response(RawReply::ok("xx"), 1).await.text().await.expect_err("too large");
    assert!(error.to_string().ends_with(": the response's body is larger than 1 bytes"), "{error}");
}

#[tokio::test]
async fn a_body_piece_by_piece_is_not_bounded() {
    for reply in thousand() {
        let stream = response(reply.clone(), 1).await.bytes_stream();
        let pieces: Vec<_> = stream.try_collect().await.expect("a body");
        assert_eq!(pieces.concat().len(), 1_000);

        let mut response = response(reply, 1).await;
        let mut length = 0;
        while let Some(piece) = response.chunk().await.expect("a body") {
            length += piece.len();
        }
        assert_eq!(length, 1_000);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_says_so() {
    let cut = RawReply::ok("part").with_header("content-length", "100").with_header("connection", "close");
    let mut stream = response(cut, 1).await.bytes_stream();
    assert_eq!(stream.try_next().await.expect("what came").as_deref(), Some(&b"part"[..]));
    assert!(stream.try_next().await.is_err());
}

#[tokio::test]
async fn a_response_says_what_came_and_whether_it_is_good() {
    for (status, is_success, is_error) in [
        (200, true, false),
        (204, true, false),
        (299, true, false),
        (304, false, false),
        (399, false, false),
        (400, false, true),
        (499, false, true),
        (500, false, true),
        (599, false, true),
    ] {
        let answer = async || response(RawReply::status(status).with_header("x-own", "1"), 100).await;
        let whole = answer().await;
        assert_eq!((whole.status_code().as_u16(), whole.is_success()), (status, is_success));
        assert_eq!((whole.attempts(), &whole.headers()["x-own"]), (1, &"1".parse().expect("a value")));
        let checked = answer().await.error_for_status();
        assert_eq!(checked.is_err_and(|error| error.is_status()), is_error, "{status}");
    }
}

#[tokio::test]
async fn a_body_is_json_or_it_is_not() {
    for (body, parsed) in
        [("[1, 2]", Some(vec![1, 2])), ("[1, 2", None), ("{}", None), ("", None), ("<html>", None)]
    {
        let json = response(RawReply::ok(body), 100).await.json::<Vec<u32>>().await;
        assert_eq!(json.as_ref().is_err_and(HttpClientError::is_parse), parsed.is_none(), "{body}: {json:?}");
        assert_eq!(json.ok(), parsed);
        assert_eq!(response(RawReply::ok(body), 100).await.json_or_none().await, parsed);
    }
    assert_eq!(response(RawReply::ok("[1, 2]"), 5).await.json_or_none::<Vec<u32>>().await, None, "too large");
}

#[tokio::test]
async fn text_is_read_in_its_charset() {
    for (content_type, body, text) in [
        ("text/plain; charset=iso-8859-1", &b"caf\xe9"[..], "café"),
        ("text/plain; charset=windows-1252", b"\x80", "€"),
        ("text/plain; charset=utf-8", "café".as_bytes(), "café"),
        ("text/plain", "café".as_bytes(), "café"),
        ("text/plain; charset=nonsense", "café".as_bytes(), "café"),
    ] {
        let reply = RawReply::ok(body).with_header("content-type", content_type);
        assert_eq!(response(reply, 100).await.text().await.expect("text"), text, "{content_type}");
    }
}

#[tokio::test]
async fn what_could_break_out_of_a_header_or_a_url_is_refused_and_not_echoed() {
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    let evil = ["canary\r\nX-Evil: 1", "canary\n", "canary\r", "canary\0", "\u{7f}canary"];
    for evil in evil {
        let requests: [(&str, RequestBuilder); 6] = [
            ("url", client.get(format!("/{evil}"))),
            ("url", client.get(format!("{}/{evil}", origin.url()))),
            ("url", client.get(format!("/?{evil}"))),
            ("header", client.get("/").header("X-Ok", evil)),
            ("header", client.get("/").header(evil, "ok")),
            ("idempotency_key", client.get("/").idempotency_key(evil)),
        ];
        for (field, request) in requests {
            let error = request.send().await.expect_err("refused");
            assert_eq!(error.config_error().map(ConfigError::field), Some(field), "{evil:?}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        let base = HttpClient::builder(format!("{}/{evil}", origin.url())).build().expect_err("refused");
        assert_eq!(base.config_error().map(ConfigError::field), Some("base_url"));
        let header =
            HttpClient::builder(origin.url()).with_header("X-Ok", evil).build().expect_err("refused");
        assert!(!format!("{base} {base:?} {header} {header:?}").contains("canary"));
    }
    let with_user = client.get(format!("http://canary:canary@{}/", origin.address())).send().await;
    assert!(!format!("{:?}", with_user.expect_err("refused")).contains("canary"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn what_could_break_out_is_encoded_where_there_is_a_way_to() {
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    let evil = "x\r\nX-Evil: 1\r\n\r\n";
    let form = Form::new().text(evil, "v").part("f", Part::bytes(b"v".to_vec()).file_name(evil));
    for request in [
        client.get("/").query(&[(evil, evil)]),
        client.post("/").form(&[(evil, evil)]),
        client.post("/").json(&[evil]),
        client.post("/").multipart(form),
    ] {
        origin.clear();
        request.send().await.expect("an answer");
        let [request] = &origin.requests()[..] else { panic!("one request: {origin:?}") };
        assert!(!request.contains("\r\nX-Evil"), "{request:?}");
        assert_eq!(request.header("x-evil"), None);
    }
}

#[tokio::test]
async fn the_headers_of_a_request_win_over_the_clients() {
    let origin = origin(RawReply::ok("")).await;
    let client = HttpClient::builder(origin.url())
        .with_headers([("Accept", "default"), ("X-Other", "default")])
        .with_api_key("default")
        .build()
        .expect("a client");
    client.get("/").header("accept", "own").header("x-api-key", "own").send().await.expect("an answer");
    let request = &origin.requests()[0];
    for (name, value) in [("accept", "own"), ("x-other", "default"), ("x-api-key", "own")] {
        assert_eq!(request.header(name).as_deref(), Some(value), "{name}");
    }
}

#[tokio::test]
async fn query_form_and_json_are_encoded() {
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    client.get("/a?b=1").query(&[("c", "2 3"), ("d", "ä&=")]).send().await.expect("an answer");
    client.post("/").form(&[("c", "2 3")]).send().await.expect("an answer");
    client.post("/").json(&serde_json::json!({"c": [2, 3]})).send().await.expect("an answer");
    client.post("/").multipart(Form::new().text("c", "2 3")).send().await.expect("an answer");
    let [query, form, json, multipart] = &origin.requests()[..] else { panic!("four: {origin:?}") };
    assert_eq!(query.target(), "/a?b=1&c=2+3&d=%C3%A4%26%3D");
    assert_eq!(form.body(), b"c=2+3");
    assert_eq!(form.header("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(json.body(), br#"{"c":[2,3]}"#);
    let content_type = multipart.header("content-type").expect("a type");
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a boundary");
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n2 3\r\n--{boundary}--\r\n"
    );
    assert_eq!(multipart.body(), body.as_bytes());
    assert_eq!(multipart.header("content-length"), Some(body.len().to_string()));
}

#[tokio::test]
async fn connections_are_kept_as_the_settings_say() {
    for (kept, connections) in [(None, 1), (Some(0), 2)] {
        let origin = origin(RawReply::ok("")).await;
        let proxy = forge_tests::Proxy::start(origin.address().port()).await.expect("a proxy");
        let mut builder = HttpClient::builder(format!("http://127.0.0.1:{}", proxy.port()));
        if let Some(kept) = kept {
            builder = builder.with_pool_max_idle_per_host(kept);
        }
        let client = builder.build().expect("a client");
        for _ in 0..2 {
            client.get("/").send().await.expect("an answer").bytes().await.expect("a body");
        }
        assert_eq!(proxy.accepted(), connections);
    }
}
