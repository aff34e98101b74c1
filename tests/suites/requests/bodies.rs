//! The bodies of requests, and the types that the client gives them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use forge_tests::RawReply;
use futures_util::{StreamExt, stream};
use http::Method;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use requestforge::client::RequestBuilder;
use requestforge::reqwest::Body;
use requestforge::reqwest::multipart::{Form, Part};
use requestforge::{ConfigError, HttpClient};

use super::{client, origin};

fn form() -> Form {
    Form::new().text("a", "1")
}

/// The body of a request, and its content type.
async fn sent(change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> (Option<String>, String) {
    let origin = origin(RawReply::ok("")).await;
    let client = HttpClient::builder(origin.url()).with_header("Content-Type", "the/default").build();
    change(client.expect("a client").post("/")).send().await.expect("an answer");
    let [request] = &origin.requests()[..] else { panic!("one request: {origin:?}") };
    (request.header("content-type"), String::from_utf8_lossy(request.body()).into_owned())
}

#[tokio::test]
async fn the_last_body_counts_and_brings_its_own_type() {
    let json = || (Some("application/json".to_owned()), "[1]".to_owned());
    let urlencoded = (Some("application/x-www-form-urlencoded".to_owned()), "a=1".to_owned());
    assert_eq!(sent(|request| request.json(&[1]).form(&[("a", "1")])).await, urlencoded);
    assert_eq!(sent(|request| request.form(&[("a", "1")]).json(&[1])).await, json());
    assert_eq!(sent(|request| request.multipart(form()).json(&[1])).await, json());
    let (content_type, body) = sent(|request| request.json(&[1]).multipart(form())).await;
    let boundary = content_type.as_deref().and_then(|said| said.split_once("; boundary="));
    let boundary = boundary.filter(|(said, _)| *said == "multipart/form-data").map(|(_, boundary)| boundary);
    assert!(body.starts_with(&format!("--{}", boundary.expect("a form's type"))), "{body}");

    // Bytes without a type have the client's type, not the type of an earlier body.
    let bytes = (Some("the/default".to_owned()), "b".to_owned());
    assert_eq!(sent(|request| request.body("b")).await, bytes);
    assert_eq!(sent(|request| request.json(&[1]).body("b")).await, bytes);
    assert_eq!(sent(|request| request.json(&[1]).body_stream("b")).await, bytes);
    assert_eq!(sent(|request| request.multipart(form()).body("b")).await, bytes);
}

#[tokio::test]
async fn a_type_that_the_caller_names_is_the_bodys_whenever_it_is_named() {
    for body in [
        (|request| request.json(&[1])) as fn(RequestBuilder) -> RequestBuilder,
        |request| request.form(&[("a", "1")]),
        |request| request.body("b"),
        |request| request.body_stream("b"),
        |request| request.json(&[1]).form(&[("a", "1")]),
    ] {
        let named = |request: RequestBuilder| request.header("content-type", "the/callers");
        assert_eq!(sent(|request| body(named(request))).await.0.as_deref(), Some("the/callers"));
        assert_eq!(sent(|request| named(body(request))).await.0.as_deref(), Some("the/callers"));
    }
}

#[tokio::test]
async fn a_form_is_of_a_callers_type_only_with_its_boundary() {
    let related = |form: &Form, boundary: &str| {
        format!("multipart/related; type=\"a/b\"; Boundary={boundary}{}{boundary}; x=y", form.boundary())
    };
    for quote in ["", "\""] {
        let form = form();
        let content_type = related(&form, quote);
        let (said, _) = sent(|request| request.multipart(form).header("Content-Type", &content_type)).await;
        assert_eq!(said, Some(content_type));
    }
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    for content_type in
        ["multipart/form-data", "multipart/form-data; boundary=another", "application/json", "\u{e9}"]
    {
        for request in [
            client.post("/").header("Content-Type", content_type).multipart(form()),
            client.post("/").multipart(form()).header("Content-Type", content_type),
        ] {
            let error = request.send().await.expect_err("nobody could read it");
            assert_eq!(error.config_error().map(ConfigError::field), Some("multipart"));
            assert!(error.to_string().contains("boundary"), "{error}");
        }
    }
    assert!(origin.requests().is_empty());
}

/// A stream with all its pieces ready, and the number of pieces that the client took.
fn ready(pieces: usize, length: usize) -> (Body, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    let pieces = stream::iter(0..pieces).map(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])))
    });
    (Body::wrap(StreamBody::new(pieces)), read)
}

#[tokio::test]
async fn a_stream_in_a_form_is_not_read_before_it_is_sent_unless_it_is_short() {
    const MIB: usize = 1024 * 1024;
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    let pieces = 65;
    for (length, says_it, at_hand) in [(1, false, 0), (MIB, true, 0), (1, true, pieces)] {
        let (body, read) = ready(pieces, length);
        let part = if says_it {
            Part::stream_with_length(body, (pieces * length) as u64)
        } else {
            Part::stream(body)
        };
        let request = client.put("/").multipart(Form::new().part("file", part));
        assert_eq!(read.load(Ordering::SeqCst), at_hand, "{length} {says_it}");
        request.send().await.expect("an answer");
        assert_eq!(read.load(Ordering::SeqCst), pieces);
    }
    let sizes: Vec<_> = origin.requests().iter().map(|request| request.body().len()).collect();
    assert!(sizes[0] > pieces && sizes[1] > pieces * MIB && sizes[2] > pieces, "{sizes:?}");
}

/// A stream of one piece without an exact size hint.
fn endless() -> Body {
    ready(1, 4).0
}

#[tokio::test]
async fn a_get_with_a_stream_of_unknown_length_is_an_error() {
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    let form = || Form::new().part("file", Part::stream(endless()));
    for method in [Method::GET, Method::HEAD, Method::CONNECT] {
        for (field, request) in [
            ("body_stream", client.request(method.clone(), "/").body_stream(endless())),
            ("multipart", client.request(method.clone(), "/").multipart(form())),
        ] {
            let shown = request.to_curl().to_string();
            assert!(shown.starts_with("# no request"), "{method} {shown}");
            let error = request.send().await.expect_err("its body would be lost");
            assert_eq!(error.config_error().map(ConfigError::field), Some(field), "{method} {error:?}");
        }
    }
    assert!(origin.requests().is_empty(), "{origin:?}");

    // With a `Content-Length` a server reads the body of any method (RFC 9112 6.3).
    for method in [Method::GET, Method::HEAD] {
        for body in [Body::from("body"), Body::wrap(Full::new(Bytes::from("body")))] {
            client.request(method.clone(), "/").body_stream(body).send().await.expect("an answer");
        }
        client.request(method, "/").multipart(self::form()).send().await.expect("an answer");
    }
    let requests = origin.requests();
    assert_eq!(requests.len(), 6);
    for request in &requests {
        assert_eq!(request.header("content-length"), Some(request.body().len().to_string()));
    }
    assert_eq!(requests.iter().filter(|request| request.body() == b"body").count(), 4);

    for method in [Method::DELETE, Method::OPTIONS, Method::POST] {
        origin.clear();
        client.request(method, "/").body_stream(endless()).send().await.expect("an answer");
        assert_eq!(origin.requests()[0].header("transfer-encoding").as_deref(), Some("chunked"));
    }
}
