//! The caller's streams on their way out.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Says whether the caller's stream itself has failed. Without it, such a failure would look like an interrupted
/// exchange, and the breaker would count it against the server.
pub(crate) struct StreamWatch(Failure);

type Failure = Arc<Mutex<Option<reqwest::Error>>>;

impl StreamWatch {
    /// Watches a stream that is about to be sent.
    pub(crate) fn over(stream: reqwest::Body) -> (reqwest::Body, Self) {
        let failure = Failure::default();
        let watched = WatchedStream { stream, failure: Arc::clone(&failure) };
        (reqwest::Body::wrap(watched), Self(failure))
    }

    /// How the stream has failed, if it has.
    pub(crate) fn failure(&self) -> Option<reqwest::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct WatchedStream {
    stream: reqwest::Body,
    failure: Failure,
}

impl Body for WatchedStream {
    type Data = Bytes;
    type Error = StreamFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamFailed>>> {
        let frame = ready!(Pin::new(&mut self.stream).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.map_err(|error| {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                StreamFailed
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.stream.size_hint()
    }
}

/// The error that `reqwest` gets; the watch keeps the stream's own.
#[derive(Debug)]
struct StreamFailed;

impl fmt::Display for StreamFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body failed")
    }
}

impl std::error::Error for StreamFailed {}
