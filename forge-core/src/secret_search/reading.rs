use std::borrow::Cow;
use std::ops::Range;

use super::escape::{self, Piece};

/// A text after one way of decoding it.
pub(super) struct Reading<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// The bytes of the original text from which each byte was decoded. `None` if the caller does not need them, or if
    /// nothing was decoded.
    sources: Option<Vec<(usize, usize)>>,
}

impl<'a> Reading<'a> {
    /// A text that does not track where its bytes come from.
    pub(super) fn without_sources(text: &'a [u8]) -> Self {
        Self { bytes: text.into(), sources: None }
    }

    /// A text that tracks where its bytes come from.
    pub(super) fn with_sources(text: &'a [u8]) -> Self {
        Self { bytes: text.into(), sources: Some((0..text.len()).map(|at| (at, at + 1)).collect()) }
    }

    /// The bytes of the original text from which a range that is not empty was decoded.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        match &self.sources {
            Some(sources) => sources[range.start].0..sources[range.end - 1].1,
            None => range,
        }
    }

    /// The text without backslashes, and with a space for each `+`, as forms write it. So a search ignores both
    /// differences.
    pub(super) fn folded(&self) -> Cow<'_, Self> {
        match memchr::memchr2(b'+', b'\\', &self.bytes) {
            Some(_) => Cow::Owned(self.rewritten(|rest| match rest[0] {
                b'\\' => Piece::nothing(1),
                b'+' => Piece::byte(b' ', 1),
                byte => Piece::byte(byte, 1),
            })),
            None => Cow::Borrowed(self),
        }
    }

    /// All texts that this one may mean: itself without backslashes, and the results of decoding it up to this many times.
    pub(super) fn unescaped(self, times: usize) -> Vec<Self> {
        let mut readings = Vec::new();
        if memchr::memchr(b'\\', &self.bytes).is_none() {
            readings.push(self);
            extend(&mut readings, times);
            return readings;
        }
        let drop_backslash = |rest: &[u8]| match rest[0] {
            b'\\' => Piece::nothing(1),
            byte => Piece::byte(byte, 1),
        };
        readings.push(self.rewritten(drop_backslash));
        extend(&mut readings, times);
        if let Some(decoded) = self.decoded() {
            readings.push(decoded);
            extend(&mut readings, times - 1);
        }
        readings
    }

    /// The text after decoding its escapes once. `None` if it contains no escape.
    fn decoded(&self) -> Option<Reading<'static>> {
        memchr::memchr3(b'%', b'&', b'\\', &self.bytes)?;
        let decoded = self.rewritten(escape::first_piece);
        (decoded.bytes != self.bytes).then_some(decoded)
    }

    fn rewritten(&self, first_piece: impl Fn(&[u8]) -> Piece) -> Reading<'static> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut sources = self.sources.as_ref().map(|_| Vec::with_capacity(self.bytes.len()));
        let mut at = 0;
        while at < self.bytes.len() {
            let piece = first_piece(&self.bytes[at..]);
            let end = at + piece.length;
            bytes.extend_from_slice(piece.says());
            if let Some(sources) = &mut sources {
                let source = self.source(at..end);
                sources.extend(piece.says().iter().map(|_| (source.start, source.end)));
            }
            at = end;
        }
        Reading { bytes: bytes.into(), sources }
    }
}

impl Clone for Reading<'_> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), sources: self.sources.clone() }
    }
}

/// Decodes the last reading up to this many times, and adds each result.
fn extend(readings: &mut Vec<Reading<'_>>, times: usize) {
    for _ in 0..times {
        match readings.last().and_then(Reading::decoded) {
            Some(decoded) => readings.push(decoded),
            None => break,
        }
    }
}
