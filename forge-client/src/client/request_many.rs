use std::fmt;
use std::future::Future;
use std::iter::{Enumerate, Fuse};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

use crate::{HttpClient, HttpClientError, HttpResponse, RequestBuilder};

/// Many requests, a few of them at a time: see [`HttpClient::request_many`].
///
/// | setting | default |
/// | --- | --- |
/// | [`max_workers`](Self::max_workers) | 5 |
/// | [`fail_fast`](Self::fail_fast) | no |
/// | [`on_progress`](Self::on_progress) | none |
#[must_use = "a stream does nothing until it is read"]
pub struct RequestMany<I> {
    waiting: Fuse<Enumerate<I>>,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = IndexedResult> + Send>>>,
    max_workers: usize,
    fail_fast: bool,
    on_progress: Option<Box<dyn FnMut(usize) + Send>>,
    completed: usize,
}

type IndexedResult = (usize, Result<HttpResponse, HttpClientError>);

impl HttpClient {
    /// Sends many requests, a few of them at a time. Returns a stream of pairs: the index of a request, and its
    /// result as soon as it is there. The client takes a request from the iterator only when it can send it, so
    /// there may be any number of them.
    ///
    /// Requests make progress only while the stream is polled. Dropping the stream cancels the requests under way.
    ///
    /// ```no_run
    /// # async fn run(client: requestforge::HttpClient) -> Result<(), requestforge::HttpClientError> {
    /// use futures_util::StreamExt;
    ///
    /// let requests = (1..=100).map({
    ///     let client = client.clone();
    ///     move |id| client.get(format!("/users/{id}"))
    /// });
    /// let mut results = client.request_many(requests).max_workers(10);
    /// while let Some((index, result)) = results.next().await {
    ///     println!("{index}: {}", result?.status_code());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_many<R>(&self, requests: R) -> RequestMany<R::IntoIter>
    where
        R: IntoIterator<Item = RequestBuilder>,
    {
        RequestMany {
            waiting: requests.into_iter().enumerate().fuse(),
            under_way: FuturesUnordered::new(),
            max_workers: 5,
            fail_fast: false,
            on_progress: None,
            completed: 0,
        }
    }
}

impl<I> RequestMany<I> {
    /// The maximum number of requests under way at a time. Default: 5. Zero counts as one.
    pub fn max_workers(mut self, requests: usize) -> Self {
        self.max_workers = requests.max(1);
        self
    }

    /// Whether the stream ends after the first error. The client then cancels the requests under way and sends
    /// no others. A response is no error, whatever its status. Default: no.
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// Calls this closure before each result, with the number of results so far.
    pub fn on_progress(mut self, progress: impl FnMut(usize) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(progress));
        self
    }
}

impl<I> Stream for RequestMany<I>
where
    I: Iterator<Item = RequestBuilder> + Unpin,
{
    type Item = IndexedResult;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<IndexedResult>> {
        let this = self.get_mut();
        while this.max_workers > this.under_way.len() {
            let Some((index, request)) = this.waiting.next() else { break };
            this.under_way.push(Box::pin(async move { (index, request.send().await) }));
        }
        let Some(completed) = ready!(Pin::new(&mut this.under_way).poll_next(context)) else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(this.complete(completed)))
    }
}

impl<I> RequestMany<I> {
    fn complete(&mut self, completed: IndexedResult) -> IndexedResult {
        self.completed += 1;
        if let Some(progress) = &mut self.on_progress {
            progress(self.completed);
        }
        if self.fail_fast && completed.1.is_err() {
            self.under_way.clear();
            self.max_workers = 0;
        }
        completed
    }
}

#[cfg(feature = "blocking")]
impl<I: Iterator<Item = RequestBuilder>> RequestMany<I> {
    /// Drops the next request unsent, and returns this error as its result. Requests under way are not affected.
    pub(crate) fn refuse_next(&mut self, error: HttpClientError) -> Option<IndexedResult> {
        if self.max_workers == 0 {
            return None;
        }
        let (index, _) = self.waiting.next()?;
        Some(self.complete((index, Err(error))))
    }
}

impl<I> fmt::Debug for RequestMany<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMany")
            .field("max_workers", &self.max_workers)
            .field("fail_fast", &self.fail_fast)
            .field("under_way", &self.under_way.len())
            .field("answered", &self.completed)
            .finish_non_exhaustive()
    }
}
