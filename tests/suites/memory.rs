//! The memory that a hostile answer of a token endpoint costs: hardly more than a good answer.
//!
//! A test program of its own, since it counts every byte on the heap of the process. The servers are in the
//! same process. They make their answers before the counting begins, and sending allocates nothing: they are
//! threads with blocking sockets and buffers on the stack. The test first checks this, with a client that
//! allocates nothing either.

#![allow(clippy::expect_used)]

#[path = "answers/gzip.rs"]
mod gzip;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use dhat::{HeapStats, Profiler};
use requestforge::{AuthMethod, ClientCredentialsTokenProvider, TokenManager};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The limit of the additional heap, compared with a normal call, at any time.
const MAX_OVER_NORMAL: usize = 4 * MIB;

/// The body of our requests. The secret is in a header, so the request ends with this body.
const REQUEST_BODY: &[u8] = b"grant_type=client_credentials";

/// Enough of an endless answer to show that sending it allocates nothing.
const DRAINED: usize = 64 * MIB;

/// Answers each connection with `head`, and with `again` until the client hangs up.
fn serve(head: impl Into<Vec<u8>>, again: impl Into<Vec<u8>>) -> SocketAddr {
    let (head, again) = (head.into(), again.into());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = [0; 4 * KIB];
            let mut length = 0;
            while !request[..length].ends_with(REQUEST_BODY) {
                length += stream.read(&mut request[length..]).expect("a request");
            }
            let mut is_open = stream.write_all(&head).is_ok();
            while is_open && !again.is_empty() {
                is_open = stream.write_all(&again).is_ok();
            }
        }
    });
    address
}

fn with_length(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A token, and a field with as many of these values as fit below the limit of an answer.
fn token_with_many(open: &str, element: &str, close: &str) -> Vec<u8> {
    let mut body = format!(r#"{{"access_token":"t","x":{open}{element}"#);
    while body.len() + element.len() + 3 < MIB {
        body.push(',');
        body.push_str(element);
    }
    body.push_str(close);
    body.push('}');
    with_length("", body.as_bytes())
}

/// The longest token that fits below the limit of an answer.
fn long_token() -> Vec<u8> {
    let body = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(MIB - 32));
    with_length("", body.as_bytes())
}

/// An error with long tokens, and with short ones that occur in all of its words.
fn error_with_tokens() -> Vec<u8> {
    let (long, words) = ("d".repeat(200_000), "e".repeat(800_000));
    let body = format!(
        r#"{{"error":"x","access_token":"e","refresh_token":"d","id_token":"{long}","error_description":"{words}"}}"#
    );
    with_length("", body.as_bytes())
}

/// The peak of the heap, minus the heap at the beginning.
fn peak_of(work: impl FnOnce()) -> usize {
    let profiler = Profiler::builder().testing().build();
    work();
    let peak = HeapStats::get().max_bytes;
    drop(profiler);
    peak
}

/// One call to an endpoint, which is the first call to it.
fn call(runtime: &Runtime, address: SocketAddr) -> Result<(), String> {
    let provider = ClientCredentialsTokenProvider::builder(format!("http://{address}/token"), "id", "secret")
        .auth_method(AuthMethod::Header)
        .build()
        .expect("a provider");
    let fetched = runtime.block_on(TokenManager::new(provider).get_token());
    fetched.map(drop).map_err(|error| error.to_string())
}

/// Reads an answer and forgets it.
fn drain(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.write_all(b"POST /token HTTP/1.1\r\n\r\n").expect("sent");
    stream.write_all(REQUEST_BODY).expect("sent");
    let mut buffer = [0; 16 * KIB];
    let mut drained = 0;
    while drained < DRAINED {
        match stream.read(&mut buffer).expect("an answer") {
            0 => break,
            length => drained += length,
        }
    }
}

#[test]
fn inv14_a_hostile_answer_takes_at_most_4_mib_more_than_a_good_one() {
    let filling = || vec![b'x'; 64 * KIB];
    let chunks = b"10\r\n0123456789abcdef\r\n".repeat(KIB);
    let nothing = Vec::new;
    let good = with_length("", br#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#);
    let bomb = with_length("content-encoding: gzip\r\n", &gzip::zeros(512));
    let too_large = "larger than 1 MiB";
    let hostile = [
        ("512 MiB of zeros in gzip", serve(bomb, nothing()), Some(too_large)),
        ("endless body", serve("HTTP/1.1 200 OK\r\n\r\n", filling()), Some(too_large)),
        (
            "endless body of a stated length",
            serve("HTTP/1.1 200 OK\r\ncontent-length: 9000000000000000000\r\n\r\n", filling()),
            Some(too_large),
        ),
        (
            "endless body in small chunks",
            serve("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunks),
            Some(too_large),
        ),
        ("endless head", serve("HTTP/1.1 200 OK\r\nx: ", filling()), Some("its headers or its")),
        (
            "field nested as deep as fits",
            serve(with_length("", &[b"{\"x\":".as_slice(), &vec![b'['; MIB - 5]].concat()), nothing()),
            Some("too many values"),
        ),
        ("long token", serve(long_token(), nothing()), None),
        ("long field", serve(token_with_many("\"", &"x".repeat(KIB), "\""), nothing()), None),
        ("error that uncovers its tokens", serve(error_with_tokens(), nothing()), Some("[redacted]")),
        // The test does not check here whether the provider accepts these.
        ("list of numbers", serve(token_with_many("[", "0", "]"), nothing()), None),
        ("list of objects", serve(token_with_many("[", r#"{"":0}"#, "]"), nothing()), None),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let good = serve(good, nothing());

    // Creates the values that a process creates once.
    call(&runtime, good).expect("a token");

    for (name, address, _) in &hostile[..5] {
        let of_server = peak_of(|| drain(*address));
        assert!(of_server < 4 * KIB, "{name}: the server itself takes {of_server} bytes");
    }
    let normal = peak_of(|| call(&runtime, good).expect("a token"));
    println!("normal call: peak {} KiB", normal / KIB);

    let mut too_much = Vec::new();
    for (name, address, words) in hostile {
        let mut result = Ok(());
        let peak = peak_of(|| result = call(&runtime, address));
        let over = peak.saturating_sub(normal);
        println!("{name}: {} KiB more, {result:?}", over / KIB);
        if let Some(words) = words {
            assert!(result.is_err_and(|error| error.contains(words)), "{name}");
        }
        if over > MAX_OVER_NORMAL {
            too_much.push((name, over / KIB));
        }
    }
    assert!(too_much.is_empty(), "more than 4 MiB over a normal call, in KiB: {too_much:?}");
}
