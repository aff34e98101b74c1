//! The table: the answers of a token endpoint, and the result of each.

mod connections;

use std::time::Duration;

use forge_tests::{Origin, RawReply};
use requestforge::AuthenticationErrorKind as Kind;
use requestforge::oauth2::OAuthErrorCode;

use super::gzip;
use super::wire::Script;

/// A text in every answer that no error may show.
pub(crate) const CANARY: &str = "canary-of-the-answer";

/// The good answer's token.
pub(crate) const GOOD: &str = "canary-of-the-good-answer";

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) answer: Answer,
    pub(crate) expected: ExpectedOutcome,
    pub(crate) http: Http,
}

pub(crate) enum Answer {
    Reply(RawReply),
    Script(Script),
}

pub(crate) enum ExpectedOutcome {
    AcceptedToken(AcceptedToken),
    ExpectedError(ExpectedError),
}

pub(crate) struct AcceptedToken {
    pub(crate) access_token: String,
    /// In milliseconds.
    pub(crate) lifetime: Option<i64>,
    pub(crate) refresh_token: Option<&'static str>,
}

pub(crate) struct ExpectedError {
    pub(crate) kind: Kind,
    pub(crate) status: Option<u16>,
    /// The expected `Display` text.
    pub(crate) words: &'static str,
    /// The expected `Display` text of the causes.
    pub(crate) cause: String,
}

/// How the call is made.
#[derive(Clone, Copy)]
pub(crate) enum Http {
    Default,
    /// The client decodes no answer, whatever its Content-Encoding. Users get this client if they do not
    /// turn on `reqwest`'s features.
    Undecoded,
    Timeout(Duration),
}

impl Case {
    pub(crate) fn http(mut self, http: Http) -> Self {
        self.http = http;
        self
    }
}

fn reply(name: &'static str, reply: RawReply, expected: ExpectedOutcome) -> Case {
    Case { name, answer: Answer::Reply(reply), expected, http: Http::Default }
}

fn script(name: &'static str, script: Script, expected: ExpectedOutcome) -> Case {
    Case { name, answer: Answer::Script(script), expected, http: Http::Default }
}

fn accepted(lifetime: Option<i64>) -> ExpectedOutcome {
    ExpectedOutcome::AcceptedToken(AcceptedToken {
        access_token: CANARY.to_owned(),
        lifetime,
        refresh_token: None,
    })
}

fn refused(kind: Kind, status: u16, words: &'static str, cause: impl Into<String>) -> ExpectedOutcome {
    ExpectedOutcome::ExpectedError(ExpectedError { kind, status: Some(status), words, cause: cause.into() })
}

fn invalid(words: &'static str, cause: impl Into<String>) -> ExpectedOutcome {
    refused(Kind::InvalidResponse, 200, words, cause)
}

fn field(cause: impl Into<String>) -> ExpectedOutcome {
    invalid("the token endpoint's response contains no usable token (status 200)", cause)
}

fn not_json() -> ExpectedOutcome {
    invalid("(status 200): the response is not JSON", "")
}

fn too_many_parts() -> ExpectedOutcome {
    invalid("(status 200): the response contains too many values", "")
}

fn failed(kind: Kind, words: &'static str, cause: &str) -> ExpectedOutcome {
    ExpectedOutcome::ExpectedError(ExpectedError { kind, status: None, words, cause: cause.to_owned() })
}

fn too_large() -> ExpectedOutcome {
    failed(Kind::InvalidResponse, "the response is larger than 1 MiB", "")
}

fn cut(cause: &str) -> ExpectedOutcome {
    failed(Kind::UnreadableResponse, "the token endpoint's response cannot be read: it was cut off", cause)
}

fn broken(cause: &str) -> ExpectedOutcome {
    failed(
        Kind::UnreadableResponse,
        "the token endpoint's response cannot be read: its body is broken",
        cause,
    )
}

/// Errors do not show the bytes, because the bytes could hold what we sent.
fn no_http() -> ExpectedOutcome {
    let words = "the token endpoint's response cannot be read: it is not valid HTTP";
    failed(Kind::UnreadableResponse, words, "")
}

fn head_too_large() -> ExpectedOutcome {
    let words = "cannot be read: its headers or its `Content-Length` are too large";
    failed(Kind::UnreadableResponse, words, "")
}

fn unanswered() -> ExpectedOutcome {
    failed(Kind::Connect, "the token endpoint closed the connection without a response", "")
}

fn late() -> ExpectedOutcome {
    failed(Kind::Timeout, "the token endpoint did not respond in time", "")
}

/// An answer with the canary for a token, and this besides.
fn token_with(rest: &str) -> RawReply {
    let comma = if rest.is_empty() { "" } else { "," };
    RawReply::ok(format!(r#"{{"access_token":"{CANARY}"{comma}{rest}}}"#))
}

pub(crate) fn all(elsewhere: &Origin) -> Vec<Case> {
    let mut cases = lifetimes();
    cases.extend(access_tokens());
    cases.extend(other_fields());
    cases.extend(bodies());
    cases.extend(statuses(elsewhere));
    cases.extend(sizes());
    cases.extend(connections::connections());
    cases.extend(connections::slow());
    cases.extend(connections::framing());
    cases
}

fn lifetimes() -> Vec<Case> {
    let lifetime = |name, value: &str, expected| {
        reply(name, token_with(&format!(r#""expires_in":{value},"x":"{CANARY}""#)), expected)
    };
    let found = |what| {
        field(format!(
            "field `expires_in`: expected a positive number of seconds, at most 100 years, found {what}"
        ))
    };
    vec![
        lifetime("expires_in 3600", "3600", accepted(Some(3_600_000))),
        lifetime("expires_in \"3600\"", r#""3600""#, accepted(Some(3_600_000))),
        lifetime("expires_in 1e3", "1e3", accepted(Some(1_000_000))),
        lifetime("expires_in 3600.5", "3600.5", accepted(Some(3_600_500))),
        lifetime("expires_in null", "null", accepted(None)),
        reply("expires_in absent", token_with(""), accepted(None)),
        lifetime("expires_in of a hundred years", "3155760000", accepted(Some(3_155_760_000_000))),
        lifetime("expires_in of a second more", "3155760001", found("a larger number")),
        lifetime("expires_in -1", "-1", found("a negative number, or not a number")),
        lifetime("expires_in 0", "0", found("zero")),
        lifetime("expires_in \"0\"", r#""0""#, found("zero")),
        lifetime("expires_in of a nanosecond", "0.000000001", field("field `expires_in`: ")),
        lifetime("expires_in i64::MAX", "9223372036854775807", found("a larger number")),
        lifetime("expires_in u64::MAX", "18446744073709551615", found("a larger number")),
        lifetime("expires_in \"u64::MAX\"", r#""18446744073709551615""#, found("a larger number")),
        lifetime("expires_in 1e300", "1e300", found("a larger number")),
        lifetime("expires_in 1e400", "1e400", not_json()),
        lifetime("expires_in \"inf\"", r#""inf""#, found("a larger number")),
        lifetime("expires_in \"NaN\"", r#""NaN""#, found("a negative number, or not a number")),
        lifetime("expires_in NaN", "NaN", not_json()),
        lifetime("expires_in \"soon\"", r#""soon""#, found("a string that is not a number")),
        lifetime("expires_in \"\"", r#""""#, found("a string that is not a number")),
        lifetime("expires_in [60]", "[60]", found("a list")),
        lifetime("expires_in true", "true", found("a boolean")),
        lifetime("expires_in an object", r#"{"seconds":60}"#, found("an object")),
    ]
}

fn access_tokens() -> Vec<Case> {
    let token = |name, value: &str, cause: &str| {
        let body = format!(r#"{{"access_token":{value},"token_type":"Bearer","x":"{CANARY}"}}"#);
        reply(name, RawReply::ok(body), field(cause))
    };
    let nothing = "field `access_token`: expected a non-empty string, found nothing";
    let unprintable =
        "field `access_token`: expected only printable ASCII characters, found other characters";
    vec![
        reply(
            "access_token absent",
            RawReply::ok(format!(r#"{{"token_type":"Bearer","x":"{CANARY}"}}"#)),
            field(nothing),
        ),
        reply("an empty object", RawReply::ok("{}"), field(nothing)),
        token("access_token null", "null", nothing),
        token("access_token empty", r#""""#, nothing),
        token("access_token a number", "12345", "field `access_token`: expected a string, found a number"),
        token(
            "access_token a list",
            &format!(r#"["{CANARY}"]"#),
            "field `access_token`: expected a string, found a list",
        ),
        token("access_token with CR/LF", &format!(r#""{CANARY}\r\nX-Evil: 1""#), unprintable),
        token("access_token with NUL", &format!(r#""{CANARY}\u0000""#), unprintable),
        token("access_token not ASCII", &format!(r#""{CANARY}é""#), unprintable),
        reply(
            "access_token with a bare line feed",
            RawReply::ok(format!("{{\"access_token\":\"{CANARY}\n\"}}")),
            not_json(),
        ),
        reply(
            "access_token not UTF-8",
            RawReply::ok([b"{\"access_token\":\"canary\xff\"}".as_slice()].concat()),
            not_json(),
        ),
    ]
}

fn other_fields() -> Vec<Case> {
    let other = "(status 200): field `token_type`: expected `Bearer`, found another";
    // The object around it is one more level.
    let nested =
        |depth: usize| token_with(&format!(r#""x":{}{}"#, "[".repeat(depth - 1), "]".repeat(depth - 1)));
    let twice = RawReply::ok(format!(
        r#"{{"access_token":"first","expires_in":"soon","access_token":"{CANARY}","expires_in":60}}"#
    ));
    vec![
        reply("token_type absent", token_with(r#""expires_in":60"#), accepted(Some(60_000))),
        reply("token_type null", token_with(r#""token_type":null"#), accepted(None)),
        reply("token_type empty", token_with(r#""token_type":"""#), accepted(None)),
        reply("token_type lower case", token_with(r#""token_type":"bearer""#), accepted(None)),
        reply("token_type upper case", token_with(r#""token_type":"BEARER""#), accepted(None)),
        reply("token_type BearerToken", token_with(r#""token_type":"BearerToken""#), accepted(None)),
        reply("token_type mac", token_with(r#""token_type":"mac""#), invalid(other, "")),
        reply("token_type DPoP", token_with(r#""token_type":"DPoP""#), invalid(other, "")),
        reply(
            "token_type a list",
            token_with(&format!(r#""token_type":["Bearer","{CANARY}"]"#)),
            field("field `token_type`: expected a string, found a list"),
        ),
        reply(
            "token_type with CR/LF",
            token_with(&format!(r#""token_type":"Bearer\r\n{CANARY}""#)),
            field("field `token_type`: expected only printable ASCII characters, found other characters"),
        ),
        reply(
            "refresh_token a string",
            token_with(r#""refresh_token":"canary-refresh""#),
            ExpectedOutcome::AcceptedToken(AcceptedToken {
                access_token: CANARY.to_owned(),
                lifetime: None,
                refresh_token: Some("canary-refresh"),
            }),
        ),
        reply("refresh_token null", token_with(r#""refresh_token":null"#), accepted(None)),
        reply("refresh_token empty", token_with(r#""refresh_token":"""#), accepted(None)),
        reply(
            "refresh_token a list",
            token_with(&format!(r#""refresh_token":["{CANARY}"]"#)),
            field("field `refresh_token`: expected a string, found a list"),
        ),
        reply("scope a list", token_with(r#""scope":["read","write"]"#), accepted(None)),
        reply(
            "scope a list of other things",
            token_with(&format!(r#""scope":["{CANARY}",1]"#)),
            field("field `scope`: expected a string or a list of strings, found a list with other values"),
        ),
        reply("keys given twice: the last counts", twice, accepted(Some(60_000))),
        reply("nested 127 deep", nested(127), accepted(None)),
        reply("nested 128 deep", nested(128), not_json()),
    ]
}

fn bodies() -> Vec<Case> {
    let html = format!("<!doctype html><title>Sign in</title><p>{CANARY}</p>");
    let deep = token_with(&format!(r#""x":{}{}"#, "[".repeat(100_000), "]".repeat(100_000)));
    let deep_objects = "{\"canary\":".repeat(50_000);
    let form = format!("access_token={CANARY}&token_type=bearer");
    let json = format!(r#"{{"access_token":"{CANARY}"}}"#);
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        reply(
            "JSON with a BOM",
            RawReply::ok(format!("\u{feff}{{\"access_token\":\"{CANARY}\",\"expires_in\":60}}")),
            accepted(Some(60_000)),
        ),
        reply("JSON with two BOMs", RawReply::ok(format!("\u{feff}\u{feff}{json}")), not_json()),
        reply("JSON in UTF-16", RawReply::ok(utf16), not_json()),
        reply("JSON called text/html", RawReply::ok(&*json).with_header("content-type", "text/html"), {
            accepted(None)
        }),
        reply("JSON amid blanks", RawReply::ok(format!("\r\n {json} \r\n")), accepted(None)),
        reply("JSON twice", RawReply::ok(format!("{json}{json}")), not_json()),
        reply("JSON without its end", RawReply::ok(&json[..json.len() - 1]), not_json()),
        reply("a form", RawReply::ok(form), not_json()),
        reply("no JSON", RawReply::ok(CANARY), not_json()),
        reply("empty 200", RawReply::ok(""), not_json()),
        reply("HTML 200", RawReply::ok(html).with_header("content-type", "text/html"), not_json()),
        reply(
            "a JSON list",
            RawReply::ok(format!(r#"[{{"access_token":"{CANARY}"}}]"#)),
            field("field `(the whole response)`: expected a JSON object, found a list"),
        ),
        reply(
            "a JSON string",
            RawReply::ok(format!(r#""{CANARY}""#)),
            field("field `(the whole response)`: expected a JSON object, found a string"),
        ),
        reply("null", RawReply::ok("null"), field("expected a JSON object, found null")),
        reply("a field nested 100,000 deep", deep, too_many_parts()),
        reply("objects nested 50,000 deep", RawReply::ok(deep_objects), too_many_parts()),
    ]
}

fn statuses(elsewhere: &Origin) -> Vec<Case> {
    let html = format!("<html><body>{CANARY}</body></html>");
    let refusal = |code: &str| format!(r#"{{"access_token":"{CANARY}","error":"{code}"}}"#);
    let status = |name, status, body: &str, words| {
        reply(name, RawReply::status(status).with_body(body), refused(Kind::Status, status, words, ""))
    };
    let redirect = "(status 307): the client does not follow redirects of a token endpoint";
    let to = |location: String| RawReply::redirect(307, location).with_body(token_body());
    vec![
        reply("201 with a token", RawReply::status(201).with_body(token_body()), accepted(None)),
        reply("204", RawReply::status(204), {
            refused(Kind::InvalidResponse, 204, "(status 204): the response is not JSON", "")
        }),
        reply(
            "an error in a 200",
            RawReply::ok(refusal("invalid_client")),
            refused(
                Kind::Refused(OAuthErrorCode::InvalidClient),
                200,
                "refused with `invalid_client` (status 200)",
                "",
            ),
        ),
        reply("an error of null in a 200", token_with(r#""error":null"#), accepted(None)),
        reply("an empty error in a 200", token_with(r#""error":"","error_description":"""#), accepted(None)),
        reply("an empty error and no token", RawReply::ok(r#"{"error":""}"#), {
            field("field `access_token`: expected a non-empty string, found nothing")
        }),
        status("an empty error in a 400", 400, r#"{"error":""}"#, "an error status (status 400)"),
        reply(
            "an unknown error in a 400",
            RawReply::status(400).with_body(refusal("scope_invalid")),
            refused(
                Kind::Refused(OAuthErrorCode::Other("scope_invalid".to_owned())),
                400,
                "refused with `scope_invalid` (status 400)",
                "",
            ),
        ),
        status("empty 400", 400, "", "an error status (status 400)"),
        status("HTML 400", 400, &html, "an error status (status 400)"),
        status("empty 403", 403, "", "an error status (status 403)"),
        status("HTML 403", 403, &html, "an error status (status 403)"),
        status("HTML 503", 503, &html, "an error status (status 503)"),
        status("400 with a token", 400, &token_body(), "an error status (status 400)"),
        reply(
            "a 307 to another port",
            to(format!("{}/{CANARY}", elsewhere.url())),
            refused(Kind::Status, 307, redirect, ""),
        ),
        reply("a 307 to itself", to(format!("/{CANARY}")), refused(Kind::Status, 307, redirect, "")),
    ]
}

fn token_body() -> String {
    format!(r#"{{"access_token":"{CANARY}"}}"#)
}

fn sizes() -> Vec<Case> {
    let bomb = || RawReply::ok(gzip::zeros(512)).with_header("content-encoding", "gzip");
    let padded = |length: usize| {
        let body = token_body();
        RawReply::ok(format!("{body}{}", " ".repeat(length - body.len())))
    };
    let endless = |head: &str, again: Vec<u8>| Script {
        head: format!("HTTP/1.1 200 OK\r\n{head}\r\n{{\"x\":\"{CANARY}").into_bytes(),
        again,
        pause: None,
    };
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096)).into_bytes();
    let chunked = Script {
        head: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
        again: chunk,
        pause: None,
    };
    vec![
        reply("1 MiB", padded(1024 * 1024), accepted(None)),
        reply("1 MiB and a byte", padded(1024 * 1024 + 1), too_large()),
        reply("512 MiB of zeros in gzip", bomb(), too_large()),
        reply("512 MiB of zeros in gzip, not decoded", bomb(), not_json()).http(Http::Undecoded),
        reply(
            "gzip that is none",
            RawReply::ok(token_body()).with_header("content-encoding", "gzip"),
            broken("Invalid gzip header"),
        ),
        script("an endless body", endless("", vec![b'x'; 65_536]), too_large()),
        script("an endless body in chunks", chunked, too_large()),
        script(
            "an endless body of a stated length",
            endless("content-length: 9000000000000000000\r\n", vec![b'x'; 65_536]),
            too_large(),
        ),
    ]
}
