use http::StatusCode;

use super::framing::has_token;

/// A reply of an [`Origin`](super::Origin). The origin writes it as given, and checks nothing.
#[derive(Clone, Debug)]
#[must_use]
pub struct RawReply {
    pub(super) manner: Manner,
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The way in which an origin sends a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Answers,
    HangsUp,
    KeepsSilent,
}

impl RawReply {
    /// 200 with a body.
    pub fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).with_body(body)
    }

    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { manner: Manner::Answers, status, headers: Vec::new(), body: Vec::new() }
    }

    /// No answer: the origin closes the connection when it has read the request.
    pub fn hang_up() -> Self {
        Self { manner: Manner::HangsUp, ..Self::status(0) }
    }

    /// No answer: the connection stays open until the client closes it.
    pub fn silence() -> Self {
        Self { manner: Manner::KeepsSilent, ..Self::status(0) }
    }

    /// A redirect.
    pub fn redirect(status: u16, location: impl Into<String>) -> Self {
        Self::status(status).with_header("location", location)
    }

    /// Adds a header. The origin adds Content-Length and Connection by itself, unless they (or
    /// Transfer-Encoding, for the first one) are given here.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(super) fn keeps_alive(&self) -> bool {
        !self.header("connection").is_some_and(|value| has_token(value, "close"))
    }

    pub(super) fn to_bytes(&self, method: &str, keeps_alive: bool) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or_default());
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if self.header("connection").is_none() {
            head += if keeps_alive { "connection: keep-alive\r\n" } else { "connection: close\r\n" };
        }
        // RFC 9110 6.4.1
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        if !bodiless && self.header("content-length").or(self.header("transfer-encoding")).is_none() {
            head.extend(["content-length: ", &self.body.len().to_string(), "\r\n"]);
        }
        let mut bytes = (head + "\r\n").into_bytes();
        if !bodiless && method != "HEAD" {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}
