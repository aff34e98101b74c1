use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use reqwest::Response;

/// A response that was looked into, and is whole all the same.
pub(crate) struct Peeked {
    pub(crate) response: Response,
    /// The body, or where it begins.
    pub(crate) read: Bytes,
    /// Whether that is all of it.
    is_complete: bool,
}

impl Peeked {
    /// The body, if all of it was read.
    pub(crate) fn body(&self) -> Option<&[u8]> {
        self.is_complete.then_some(&*self.read)
    }
}

/// Reads a body, or a little more than this much of it, and puts it back. One that breaks off breaks off
/// for whoever reads it, after the bytes that came.
pub(crate) async fn peek(mut response: Response, most: usize) -> Peeked {
    let mut read = BytesMut::new();
    let (is_complete, broken) = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                read.extend_from_slice(&chunk);
                if read.len() > most {
                    break (false, None);
                }
            }
            Ok(None) => break (true, None),
            Err(error) => break (false, Some(error)),
        }
    };
    let read = read.freeze();
    let (parts, rest) = http::Response::<reqwest::Body>::from(response).into_parts();
    let rest = match broken {
        None => Rest::Unread(rest),
        Some(error) => Rest::Broken(Some(error)),
    };
    let whole = reqwest::Body::wrap(PutBack { first: Some(read.clone()), rest });
    Peeked { response: http::Response::from_parts(parts, whole).into(), read, is_complete }
}

/// A body of which the first part was read already.
struct PutBack {
    first: Option<Bytes>,
    rest: Rest,
}

enum Rest {
    Unread(reqwest::Body),
    Broken(Option<reqwest::Error>),
}

impl http_body::Body for PutBack {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        match &mut self.rest {
            Rest::Unread(body) => Pin::new(body).poll_frame(context),
            Rest::Broken(error) => Poll::Ready(error.take().map(Err)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
