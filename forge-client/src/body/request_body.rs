use bytes::Bytes;
use http_body::Body as _;

use super::content::BodyContent;
use super::stream_watch::StreamWatch;

/// A body, and how often it can be sent.
pub(crate) enum RequestBody {
    Empty,
    /// Any number of times.
    Bytes(Bytes),
    /// Once; `None` when that has happened.
    Stream(Option<reqwest::Body>),
}

impl RequestBody {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether the body is a stream without an exact size hint.
    pub(crate) fn has_unknown_length(&self) -> bool {
        matches!(self, Self::Stream(Some(stream)) if stream.size_hint().exact().is_none())
    }

    /// Whether it can be sent now: the first time, or once more.
    pub(crate) fn can_be_sent(&self) -> bool {
        !matches!(self, Self::Stream(None))
    }

    /// The body in the form in which [`Mask`](crate::logging::Mask) searches it for secrets.
    pub(crate) fn content(&self) -> BodyContent<'_> {
        match self {
            Self::Empty => BodyContent::Bytes(&[]),
            Self::Bytes(bytes) => BodyContent::Bytes(bytes),
            Self::Stream(_) => BodyContent::Stream,
        }
    }

    /// The bytes of the body; `None` for a stream, or without a body.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Empty | Self::Stream(_) => None,
        }
    }

    /// A copy for logs and errors. A stream has no copy; the copy has a stream that was already sent in its place.
    pub(crate) fn without_stream(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Stream(_) => Self::Stream(None),
        }
    }

    /// The body to send, and for a stream the watch that says whether the stream itself failed.
    pub(crate) fn take_for_sending(&mut self) -> (Option<reqwest::Body>, Option<StreamWatch>) {
        match self {
            Self::Empty => (None, None),
            Self::Bytes(bytes) => (Some(bytes.clone().into()), None),
            Self::Stream(stream) => stream.take().map(StreamWatch::over).unzip(),
        }
    }
}
