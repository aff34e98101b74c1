use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};

use super::TARGET;
use super::entry::AttemptInfo;
use super::mask::Mask;

/// The body of a response, which is logged when the caller has read it or drops it. So a stream stays a stream,
/// and the log reads nothing that the caller does not read.
pub(super) struct LoggedBody {
    inner: reqwest::Body,
    content_type: Option<HeaderValue>,
    /// The bytes to log: at most one more than the log can show.
    read: BytesMut,
    length: usize,
    /// The announced length, if there is one: many readers stop after so many bytes, and do not wait for the end.
    announced: Option<u64>,
    is_whole: bool,
    max: usize,
    mask: Mask,
    attempt: AttemptInfo,
}

impl LoggedBody {
    pub(super) fn new(
        inner: reqwest::Body,
        content_type: Option<HeaderValue>,
        max: usize,
        mask: Mask,
        attempt: AttemptInfo,
    ) -> Self {
        let (announced, is_whole) = (inner.size_hint().exact(), inner.is_end_stream());
        let read = BytesMut::new();
        Self { inner, content_type, read, length: 0, announced, is_whole, max, mask, attempt }
    }

    fn keep(&mut self, data: &[u8]) {
        self.length = self.length.saturating_add(data.len());
        let room = self.max.saturating_add(1).saturating_sub(self.read.len());
        self.read.extend_from_slice(&data[..data.len().min(room)]);
    }
}

impl Body for LoggedBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.keep(data);
                }
                self.is_whole = self.inner.is_end_stream() || self.announced == Some(self.length as u64);
            }
            Some(Err(_)) => {}
            None => self.is_whole = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for LoggedBody {
    fn drop(&mut self) {
        // The caller read nothing. Most likely the client has repeated the attempt and dropped its response.
        if self.length == 0 {
            return;
        }
        let AttemptInfo { method, url, number, correlation_id } = &self.attempt;
        let body = if self.is_whole && self.read.len() == self.length {
            self.mask.answer_body(self.content_type.as_ref(), &self.read, self.max)
        } else if self.is_whole {
            format!("{} bytes", self.length)
        } else {
            format!("{} bytes were read, but not all", self.length)
        };
        tracing::info!(
            target: TARGET,
            %method,
            url = url.shown(),
            attempt = number,
            correlation_id = correlation_id.as_deref(),
            response_body = body,
            "response body read"
        );
    }
}
