use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http::Method;
use http_body::Body;

use crate::HttpClientError;
use crate::origin::RequestUrl;

/// The body of a response, piece by piece: see [`bytes_stream`](crate::HttpResponse::bytes_stream).
#[must_use = "a stream does nothing until it is read"]
pub struct BodyStream {
    method: Method,
    url: RequestUrl,
    attempts: u32,
    body: reqwest::Body,
}

impl BodyStream {
    pub(super) fn new(method: Method, url: RequestUrl, attempts: u32, response: reqwest::Response) -> Self {
        Self { method, url, attempts, body: response.into() }
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, HttpClientError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                return Poll::Ready(None);
            };
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(piece)) => return Poll::Ready(Some(Ok(piece))),
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => {
                    let error = HttpClientError::exchange(&error).at(&this.method, &this.url);
                    return Poll::Ready(Some(Err(error.after(this.attempts))));
                }
            }
        }
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream")
            .field("method", &self.method)
            .field("url", &self.url.shown())
            .finish_non_exhaustive()
    }
}
