use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::framing::{Message, first_message};
use super::{Origin, RawReply};
use crate::raw_http::Call;

async fn origin() -> Origin {
    Origin::start(|request| RawReply::ok(format!("{} {}", request.method(), request.target())))
        .await
        .expect("a port")
}

#[tokio::test]
async fn records_every_byte() {
    let origin = origin().await;
    let call =
        Call::new("POST", &format!("{}/a?b=c", origin.url())).header("X-Key", "k1").body("secret body");
    assert_eq!(call.send().await.body, "POST /a?b=c");

    let [request] = &origin.requests()[..] else { panic!("one request: {origin:?}") };
    let sent = format!(
        "POST /a?b=c HTTP/1.1\r\nhost: {}\r\nconnection: close\r\nX-Key: k1\r\ncontent-length: 11\r\n\r\nsecret body",
        origin.address()
    );
    assert_eq!(request.bytes, sent.as_bytes());
    assert_eq!((request.method(), request.target(), request.body()), ("POST", "/a?b=c", &b"secret body"[..]));
    assert_eq!((request.header("x-key").as_deref(), request.header("cookie")), (Some("k1"), None));
    assert!(request.contains("secret body") && request.contains("k1") && !request.contains("k2"));
    let shown = format!("{request:?}");
    assert!(shown.contains("X-Key") && !shown.contains("k1"));
    origin.clear();
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn keeps_connections_alive() {
    let origin = origin().await;
    let mut stream = TcpStream::connect(origin.address()).await.expect("a server");
    let chunked =
        "POST /1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nt: u\r\n\r\n";
    for part in chunked.as_bytes().chunks(7) {
        stream.write_all(part).await.expect("sent");
        tokio::task::yield_now().await;
    }
    let pipelined =
        "PUT /2 HTTP/1.1\r\ncontent-length: 2\r\n\r\nxyHEAD /3 HTTP/1.1\r\n\r\nGET /4 HTTP/1.0\r\n\r\n";
    stream.write_all(pipelined.as_bytes()).await.expect("sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("answers");

    let requests = origin.requests();
    let lines: Vec<_> = requests.iter().map(|request| (request.method(), request.target())).collect();
    assert_eq!(lines, [("POST", "/1"), ("PUT", "/2"), ("HEAD", "/3"), ("GET", "/4")]);
    assert_eq!(requests[0].bytes, chunked.as_bytes());
    assert_eq!(requests[1].body(), b"xy");
    assert_eq!(answers.matches("connection: keep-alive").count(), 3);
    assert_eq!(answers.matches("content-length: 7\r\n").count(), 2, "POST and HEAD");
    assert!(
        !answers.contains("HEAD /3")
            && answers.ends_with("connection: close\r\ncontent-length: 6\r\n\r\nGET /4")
    );
}

#[tokio::test]
async fn answers_what_it_is_told() {
    let origin = origin().await;
    let url = origin.url();
    origin.set_reply(|_| RawReply::redirect(307, "//127.0.0.2:9/\tx").with_header("set-cookie", "a=b"));
    let redirect = Call::get(&url).send().await;
    assert_eq!((redirect.status, redirect.header("location")), (307, Some("//127.0.0.2:9/\tx")));
    assert_eq!(redirect.header("set-cookie"), Some("a=b"));

    origin.set_reply(|_| RawReply::status(401).with_body("no").with_header("Content-Length", "2"));
    let refused = Call::get(&url).send().await;
    assert_eq!((refused.status, refused.body.as_str()), (401, "no"));
    assert_eq!(refused.head.to_ascii_lowercase().matches("content-length").count(), 1);

    origin.set_reply(|_| RawReply::status(204));
    assert_eq!(Call::get(&url).send().await.header("content-length"), None);
}

#[tokio::test]
async fn a_reply_may_close_the_connection() {
    let origin =
        Origin::start(|_| RawReply::ok("bye").with_header("Connection", "close")).await.expect("a port");
    let mut stream = TcpStream::connect(origin.address()).await.expect("a server");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer to the end");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 3\r\n\r\nbye");
}

#[tokio::test]
async fn may_hang_up_or_keep_silent() {
    let origin = Origin::start(|request| match request.target() {
        "/silence" => RawReply::silence(),
        _ => RawReply::hang_up(),
    });
    let origin = origin.await.expect("a port");
    let mut stream = TcpStream::connect(origin.address()).await.expect("a connection");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    assert_eq!(stream.read(&mut [0]).await.expect("the end"), 0);

    let mut stream = TcpStream::connect(origin.address()).await.expect("a connection");
    stream.write_all(b"GET /silence HTTP/1.1\r\n\r\n").await.expect("sent");
    while origin.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.expect("a half that is closed");
    assert_eq!(stream.read(&mut [0]).await.expect("the end"), 0, "nothing was said");
}

#[tokio::test]
async fn records_what_broke_off_or_was_no_http() {
    let origin = origin().await;
    for bytes in [&b"GET /half HTTP/1.1\r\nx-api-key: k1\r\n"[..], b"\x16\x03\x01 hello"] {
        let mut stream = TcpStream::connect(origin.address()).await.expect("a server");
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("no more");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("the end");
        assert!(answer.is_empty());
    }
    let [half, tls] = &origin.requests()[..] else { panic!("two requests: {origin:?}") };
    assert_eq!((half.method(), half.target(), half.body()), ("GET", "/half", &b""[..]));
    assert!(half.contains("k1") && tls.contains("hello"));
}

#[tokio::test]
async fn listens_on_loopback_only() {
    let second = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    // Linux has all of 127.0.0.0/8. Other systems set up only the first address.
    if cfg!(target_os = "linux") {
        let origin = Origin::start_at(second, |_| RawReply::status(200)).await.expect("a port");
        assert!(origin.url().starts_with("http://127.0.0.2:"));
        assert_eq!(Call::get(&origin.url()).send().await.status, 200);
    }
    let anywhere = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    assert!(Origin::start_at(anywhere, |_| RawReply::status(200)).await.is_err());
}

#[tokio::test]
async fn stops_when_dropped_with_its_connections() {
    let origin = origin().await;
    let address = origin.address();
    let mut idle = TcpStream::connect(address).await.expect("a server");
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    assert!(idle.read(&mut [0; 1024]).await.expect("an answer") > 0);
    let _port = origin.stop().await.expect("stopped");
    assert!(matches!(idle.read(&mut [0; 1024]).await, Ok(0) | Err(_)));
    TcpStream::connect(address).await.expect_err("it is stopped");
}

#[test]
fn finds_the_end_of_a_request() {
    let whole = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(first_message(whole), Message::Whole(whole.len()));
    for length in 0..whole.len() {
        assert_eq!(first_message(&whole[..length]), Message::Partial, "{length}");
    }
    let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(first_message(chunked), Message::Whole(chunked.len()));
    for length in 0..chunked.len() {
        assert_eq!(first_message(&chunked[..length]), Message::Partial, "{length}");
    }
    for broken in [
        &b"\x16\x03\x01"[..],
        b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ] {
        assert_eq!(first_message(broken), Message::Broken);
    }
}
