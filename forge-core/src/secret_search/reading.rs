use std::borrow::Cow;
use std::ops::Range;

use super::escape::{self, Piece};

/// What a text says when it is read in one way.
pub(super) struct Reading<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Which bytes of the text each byte was read from; `None` where nobody asks, or where it is the same.
    sources: Option<Vec<(usize, usize)>>,
}

impl<'a> Reading<'a> {
    /// One that does not know where in the text its bytes come from.
    pub(super) fn without_sources(text: &'a [u8]) -> Self {
        Self { bytes: text.into(), sources: None }
    }

    pub(super) fn with_sources(text: &'a [u8]) -> Self {
        Self { bytes: text.into(), sources: Some((0..text.len()).map(|at| (at, at + 1)).collect()) }
    }

    /// The bytes of the text from which a range that is not empty was read.
    pub(super) fn source(&self, range: Range<usize>) -> Range<usize> {
        match &self.sources {
            Some(sources) => sources[range.start].0..sources[range.end - 1].1,
            None => range,
        }
    }

    /// A reading in which it makes no difference whether it was escaped by backslashes, and whether a space
    /// is a `+`, as forms write it.
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

    /// This reading, without its backslashes if it has any, and what each says where it is escaped up to so
    /// many times.
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

    /// `None` if nothing in there is escaped.
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

/// Adds what the last one says where it is escaped up to so many times.
fn extend(readings: &mut Vec<Reading<'_>>, times: usize) {
    for _ in 0..times {
        match readings.last().and_then(Reading::decoded) {
            Some(decoded) => readings.push(decoded),
            None => break,
        }
    }
}
