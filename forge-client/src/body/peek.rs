use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use reqwest::{Response, ResponseBuilderExt};
use tokio::time::Instant;

use crate::timing::within;

/// A response whose body was read and put back.
pub(crate) struct PeekedResponse {
    pub(crate) response: Response,
    /// The body, if all of it could be read.
    pub(crate) body: Option<Bytes>,
}

/// Reads a body and puts it back: the whole body, or a little more than `most` bytes of it, or the part that
/// comes until `until`. If the body breaks off, its later reader gets the bytes that came, and then the error.
/// If it stalls, the reader goes on where it stalls.
pub(crate) async fn peek(mut response: Response, most: usize, until: Option<Instant>) -> PeekedResponse {
    let mut read = BytesMut::new();
    let end = loop {
        match within(until, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                read.extend_from_slice(&chunk);
                if read.len() > most {
                    break None;
                }
            }
            Ok(Ok(None)) => break Some(Remainder::Ended),
            Ok(Err(error)) => break Some(Remainder::Broken(Some(error))),
            Err(_) => break None,
        }
    };
    let read = read.freeze();
    let body = matches!(end, Some(Remainder::Ended)).then(|| read.clone());
    let mut url = http::Response::builder().url(response.url().clone());
    let (mut parts, rest) = http::Response::<reqwest::Body>::from(response).into_parts();
    if let Some(url) = url.extensions_mut() {
        // The conversion to an `http::Response` loses the URL, so this puts it back.
        parts.extensions.extend(std::mem::take(url));
    }
    let whole = put_back(read, end.unwrap_or(Remainder::Unread(rest)), None);
    PeekedResponse { response: http::Response::from_parts(parts, whole).into(), body }
}

/// The whole of a body that is ready without a wait and has at most `most` bytes; else the body, unchanged. `length`
/// is the length to announce to the server, if it is known.
pub(crate) fn read_ready(
    mut body: reqwest::Body,
    length: Option<u64>,
    most: usize,
) -> Result<Bytes, reqwest::Body> {
    let mut read = BytesMut::new();
    // The next reader polls with a waker of its own, so no wake-up is lost here.
    let mut context = Context::from_waker(Waker::noop());
    let rest = loop {
        match Pin::new(&mut body).poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => {
                read.extend_from_slice(frame.data_ref().map_or(&[], |piece| piece));
                if read.len() > most {
                    break Remainder::Unread(body);
                }
            }
            Poll::Ready(None) => return Ok(read.freeze()),
            Poll::Ready(Some(Err(error))) => break Remainder::Broken(Some(error)),
            Poll::Pending => break Remainder::Unread(body),
        }
    };
    Err(put_back(read.freeze(), rest, length))
}

fn put_back(read: Bytes, rest: Remainder, length: Option<u64>) -> reqwest::Body {
    reqwest::Body::wrap(PrependedBody { first: Some(read), rest, left: length })
}

/// A body whose first part was read already, and comes first again.
struct PrependedBody {
    first: Option<Bytes>,
    rest: Remainder,
    /// How many bytes are still to come, if that is known.
    left: Option<u64>,
}

enum Remainder {
    Unread(reqwest::Body),
    /// The body has ended. Polling it once more might return a time-out.
    Ended,
    Broken(Option<reqwest::Error>),
}

impl Body for PrependedBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        let frame = match (self.first.take().filter(|first| !first.is_empty()), &mut self.rest) {
            (Some(first), _) => Some(Ok(Frame::data(first))),
            (None, Remainder::Unread(body)) => ready!(Pin::new(body).poll_frame(context)),
            (None, Remainder::Ended) => None,
            (None, Remainder::Broken(error)) => error.take().map(Err),
        };
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left = left.saturating_sub(frame.data_ref().map_or(0, |piece| piece.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A body that comes in pieces. `None`: the reader has to wait.
    struct Pieces(VecDeque<Option<&'static str>>);

    /// A body of one piece. After that it waits for ever or, if it ends, fails at another read.
    struct UpTo {
        piece: Option<&'static str>,
        ends: bool,
        was_asked: bool,
    }

    impl Body for UpTo {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.piece.take() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece))))),
                None if !self.ends => Poll::Pending,
                None if self.was_asked => Poll::Ready(Some(Err(std::io::Error::other("too late")))),
                None => {
                    self.was_asked = true;
                    Poll::Ready(None)
                }
            }
        }
    }

    fn up_to(piece: &'static str, ends: bool) -> Response {
        let body = UpTo { piece: Some(piece), ends, was_asked: false };
        http::Response::new(reqwest::Body::wrap(body)).into()
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(piece))))),
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
            }
        }
    }

    fn body(pieces: &[Option<&'static str>]) -> reqwest::Body {
        reqwest::Body::wrap(Pieces(pieces.iter().copied().collect()))
    }

    fn response(pieces: &[Option<&'static str>]) -> Response {
        http::Response::new(body(pieces)).into()
    }

    async fn text(body: reqwest::Body) -> String {
        Response::from(http::Response::new(body)).text().await.unwrap()
    }

    #[tokio::test]
    async fn what_is_at_hand_is_taken_and_the_rest_is_left_as_it_was() {
        let at_once = [Some("ab"), Some(""), Some("cd")];
        assert_eq!(read_ready(body(&at_once), Some(4), 4).unwrap(), "abcd");
        assert_eq!(read_ready(body(&[]), None, 0).unwrap(), "");
        for (pieces, most) in [
            (&at_once[..], 3),
            (&at_once[..], 0),
            (&[Some("ab"), None, Some("cd")], 9),
            (&[None, Some("abcd")], 9),
            (&[Some("abcd"), None], 9),
        ] {
            let rest = read_ready(body(pieces), Some(4), most).unwrap_err();
            assert_eq!(rest.size_hint().exact(), Some(4), "{pieces:?}");
            assert_eq!(text(rest).await, "abcd", "{pieces:?}");
            assert_eq!(read_ready(body(pieces), None, most).unwrap_err().size_hint().exact(), None);
        }
    }

    #[tokio::test]
    async fn what_is_peeked_at_stays() {
        for (most, is_whole) in [(3, false), (4, true), (9, true)] {
            let peeked = peek(response(&[Some("ab"), None, Some("cd")]), most, None).await;
            assert_eq!(peeked.body.as_deref(), is_whole.then_some(&b"abcd"[..]), "{most}");
            // More than one reader may peek.
            let again = peek(peeked.response, 0, None).await;
            assert_eq!(again.body, None);
            assert_eq!(again.response.text().await.unwrap(), "abcd");
        }
    }

    #[tokio::test]
    async fn what_stalls_is_given_back_as_far_as_it_came() {
        let peeked = peek(up_to("ab", false), 9, Some(Instant::now())).await;
        assert_eq!(peeked.body, None);
        let mut response = peeked.response;
        assert_eq!(response.chunk().await.unwrap().unwrap(), "ab");
        assert!(within(Some(Instant::now()), response.chunk()).await.is_err(), "it still stalls");
    }

    #[tokio::test]
    async fn what_has_ended_is_not_read_on() {
        let peeked = peek(up_to("ab", true), 9, None).await;
        assert_eq!(peeked.body.unwrap(), "ab");
        assert_eq!(peeked.response.text().await.unwrap(), "ab");
    }
}
