use std::fmt;
use std::iter::Map;

use futures_util::StreamExt;

use super::{HttpClient, HttpResponse, RequestBuilder, runtime};
use crate::HttpClientError;

/// Many requests, a few of them at a time: see [`HttpClient::request_many`].
///
/// | setting | default |
/// | --- | --- |
/// | [`max_workers`](Self::max_workers) | 5 |
/// | [`fail_fast`](Self::fail_fast) | no |
/// | [`on_progress`](Self::on_progress) | none |
#[must_use = "the iterator sends nothing until `next` is called"]
pub struct RequestMany<I>(crate::RequestMany<Requests<I>>);

/// The requests, converted to those of the async client.
type Requests<I> = Map<I, fn(RequestBuilder) -> crate::RequestBuilder>;

impl HttpClient {
    /// Sends many requests, a few of them at a time, and returns each result as it comes: an iterator over pairs
    /// of the request's index and its result. It takes each request from `requests` only when it can send it, so
    /// there may be any number of them. It starts no threads: all requests run on the thread that calls `next`.
    ///
    /// Requests make progress only while `next` runs; their time-outs go on in between. If a result takes long to
    /// handle, collect the results first. Dropping the iterator cancels the requests under way, and sends no
    /// more.
    ///
    /// [Within a runtime](super#where-it-is-refused) the result of each request is an error, and nothing is sent.
    ///
    /// ```no_run
    /// # fn run(client: requestforge::blocking::HttpClient) -> Result<(), requestforge::HttpClientError> {
    /// let requests = (1..=100).map(|id| client.get(format!("/users/{id}")));
    /// for (index, result) in client.request_many(requests).max_workers(10).fail_fast(true) {
    ///     println!("user {}: {}", index + 1, result?.status_code());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_many<R>(&self, requests: R) -> RequestMany<R::IntoIter>
    where
        R: IntoIterator<Item = RequestBuilder>,
    {
        let requests: Requests<R::IntoIter> = requests.into_iter().map(RequestBuilder::into_async);
        RequestMany(self.as_async().request_many(requests))
    }
}

impl<I> RequestMany<I> {
    /// As [`max_workers`](crate::RequestMany::max_workers).
    pub fn max_workers(self, requests: usize) -> Self {
        Self(self.0.max_workers(requests))
    }

    /// As [`fail_fast`](crate::RequestMany::fail_fast).
    pub fn fail_fast(self, fail_fast: bool) -> Self {
        Self(self.0.fail_fast(fail_fast))
    }

    /// As [`on_progress`](crate::RequestMany::on_progress).
    pub fn on_progress(self, progress: impl FnMut(usize) + Send + 'static) -> Self {
        Self(self.0.on_progress(progress))
    }
}

impl<I> Iterator for RequestMany<I>
where
    I: Iterator<Item = RequestBuilder> + Unpin,
{
    type Item = (usize, Result<HttpResponse, HttpClientError>);

    fn next(&mut self) -> Option<Self::Item> {
        let answered = match runtime::block_on(self.0.next()) {
            Ok(answered) => answered,
            Err(unavailable) => self.0.refuse_next(unavailable.into()),
        };
        answered.map(|(index, result)| (index, result.map(HttpResponse::new)))
    }
}

impl<I> fmt::Debug for RequestMany<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
