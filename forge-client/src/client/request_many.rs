use std::fmt;
use std::future::Future;
use std::iter::{Enumerate, Fuse};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_util::stream::FuturesUnordered;

use crate::{HttpClient, HttpClientError, HttpResponse, RequestBuilder};

/// Many requests, some at a time: see [`HttpClient::request_many`].
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
    /// Sends many requests, a few of them at a time, and hands out what comes of each as it comes: a stream
    /// of pairs of the request's index and its result. A request is taken from the iterator when its turn
    /// has come, so there may be any number of them.
    ///
    /// They are under way while the stream is polled. Dropping it ends those that are, and sends no other.
    ///
    /// ```no_run
    /// # async fn run(client: forge_client::HttpClient) -> Result<(), forge_client::HttpClientError> {
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
    /// How many requests are under way at a time, at most. Default: 5. Zero counts as one.
    pub fn max_workers(mut self, requests: usize) -> Self {
        self.max_workers = requests.max(1);
        self
    }

    /// Whether the first error is the last thing to come: requests that are under way end then, and no
    /// other is sent. An answer of any status is no error. Default: no.
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    /// Called with how many results have come so far, before each of them is handed out.
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
