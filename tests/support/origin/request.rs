use std::fmt;

use super::framing::{find, has_token, head_length, header, headers};

/// A request as it came over the wire.
#[derive(Clone)]
pub struct RecordedRequest {
    /// Every byte of it: request line, headers, empty line, body, with the frames of its chunks.
    pub bytes: Vec<u8>,
    pub(super) is_whole: bool,
}

impl RecordedRequest {
    pub(super) fn new(bytes: Vec<u8>, is_whole: bool) -> Self {
        Self { bytes, is_whole }
    }

    /// The method, as sent.
    pub fn method(&self) -> &str {
        self.word(0)
    }

    /// The request target, as sent: the path and the query, in most cases.
    pub fn target(&self) -> &str {
        self.word(1)
    }

    /// The first value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<String> {
        header(self.head(), name)
    }

    /// The bytes after the head, as the client sent them.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head().len()..]
    }

    /// Whether this text is anywhere in the request, in exactly this case.
    pub fn contains(&self, text: &str) -> bool {
        text.is_empty() || find(&self.bytes, text.as_bytes()).is_some()
    }

    pub(super) fn keeps_alive(&self) -> bool {
        self.word(2) == "HTTP/1.1"
            && !self.header("connection").is_some_and(|value| has_token(&value, "close"))
    }

    fn head(&self) -> &[u8] {
        &self.bytes[..head_length(&self.bytes).unwrap_or(self.bytes.len())]
    }

    fn word(&self, index: usize) -> &str {
        let line = &self.bytes[..find(&self.bytes, b"\r\n").unwrap_or(self.bytes.len())];
        str::from_utf8(line).unwrap_or_default().split(' ').nth(index).unwrap_or_default()
    }
}

/// Names, not values.
impl fmt::Debug for RecordedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedRequest")
            .field("method", &self.method())
            .field("target", &self.target())
            .field("headers", &headers(self.head()).map(|(name, _)| name).collect::<Vec<_>>())
            .field("body_bytes", &self.body().len())
            .finish_non_exhaustive()
    }
}
