//! Answers that are cut, slow, or no HTTP.

use std::time::Duration;

use forge_tests::RawReply;

use super::{
    CANARY, Case, Http, accepted, broken, cut, head_too_large, late, no_http, not_json, reply, script,
    token_body, unanswered,
};
use crate::wire::Script;

pub(super) fn connections() -> Vec<Case> {
    let cut_after = |bytes: String| Script { head: bytes.into_bytes(), ..Script::default() };
    let stated = |length: &str, body: &str| {
        cut_after(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"))
    };
    let chunked =
        |body: &str| cut_after(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}"));
    let whole = token_body();
    let framed = format!("{:x}\r\n{whole}\r\n", whole.len());
    vec![
        script("cut before the head", cut_after(String::new()), unanswered()),
        script("cut in the status line", cut_after("HTTP/1.1 2".to_owned()), unanswered()),
        script("cut in the head", cut_after(format!("HTTP/1.1 200 OK\r\nx: {CANARY}\r\n")), unanswered()),
        // The body is a whole token, but the server does not say that the body ends here.
        script("cut in the body", stated("1000", &whole), cut("end of file before message length reached")),
        script(
            "cut in a body of 9 EB",
            stated("9000000000000000000", &whole),
            cut("end of file before message length reached"),
        ),
        script("a body longer than any", stated("18446744073709551614", &whole), head_too_large()),
        script("cut in the chunks", chunked(&framed), cut("unexpected EOF during chunk size line")),
        script(
            "cut in a chunk",
            chunked(&framed[..framed.len() / 2]),
            cut("end of file before message length reached"),
        ),
        script(
            "cut after a whole body without a length",
            cut_after(format!("HTTP/1.0 200 OK\r\n\r\n{whole}")),
            accepted(None),
        ),
        script(
            "cut in a body without a length",
            cut_after(format!("HTTP/1.0 200 OK\r\n\r\n{}", &whole[..whole.len() - 1])),
            not_json(),
        ),
    ]
}

/// Bytes far apart never add up to patience: the time-out is for the call as a whole.
pub(super) fn slow() -> Vec<Case> {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
    let drops = |head: &str, pause| Script {
        head: head.as_bytes().to_vec(),
        again: vec![b' '],
        pause: Some(Duration::from_millis(pause)),
    };
    vec![
        script("one byte a second", drops(head, 1000), late())
            .http(Http::Timeout(Duration::from_millis(1500))),
        script("a hundred bytes a second", drops(head, 10), late())
            .http(Http::Timeout(Duration::from_millis(1500))),
        script(
            "endless interim answers",
            Script {
                head: Vec::new(),
                again: format!("HTTP/1.1 103 Early Hints\r\nx: {CANARY}\r\n\r\n").into_bytes(),
                pause: Some(Duration::from_millis(1)),
            },
            late(),
        )
        .http(Http::Timeout(Duration::from_millis(500))),
    ]
}

pub(super) fn framing() -> Vec<Case> {
    let raw =
        |head: &str| Script { head: format!("{head}\r\n{}", token_body()).into_bytes(), ..Script::default() };
    let many = format!("x: {CANARY}\r\n").repeat(200);
    vec![
        reply(
            "a header of 1 MiB",
            RawReply::ok(token_body()).with_header("x", CANARY.repeat(1024 * 1024 / CANARY.len())),
            head_too_large(),
        ),
        script("200 headers", raw(&format!("HTTP/1.1 200 OK\r\n{many}")), head_too_large()),
        script(
            "an endless head",
            Script {
                head: b"HTTP/1.1 200 OK\r\nx: ".to_vec(),
                again: CANARY.repeat(1000).into_bytes(),
                pause: None,
            },
            head_too_large(),
        ),
        script("not HTTP", raw(&format!("{CANARY}\r\n\r\n")), no_http()),
        script("a status that is none", raw("HTTP/1.1 canary OK\r\n"), no_http()),
        script("a length that is none", raw("HTTP/1.1 200 OK\r\ncontent-length: canary\r\n"), no_http()),
        script(
            "two lengths",
            raw("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n"),
            no_http(),
        ),
        script(
            "chunks that are none",
            raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"),
            broken("Invalid chunk size line"),
        ),
        script(
            "a chunk longer than numbers are",
            Script {
                head: format!(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
                    token_body()
                )
                .into_bytes(),
                ..Script::default()
            },
            broken("invalid chunk size: overflow"),
        ),
    ]
}
