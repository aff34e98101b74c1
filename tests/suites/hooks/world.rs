//! Shared helpers of this suite.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_tests::{Origin, RawReply, RecordedRequest};
use requestforge::client::HttpClientBuilder;
use requestforge::hooks::{
    ErrorHook, FailedCall, HookResult, OutgoingRequest, ReceivedResponse, RequestHook, ResponseHook,
};
use requestforge::reqwest::ClientBuilder;
use requestforge::{HttpClient, SimpleRetryStrategy};

/// A server that records its requests. Its first answers are these, and the others are 200.
pub(crate) async fn origin(replies: impl IntoIterator<Item = RawReply>) -> Origin {
    let replies = Mutex::new(replies.into_iter().collect::<Vec<_>>().into_iter());
    Origin::start(move |_| lock(&replies).next().unwrap_or(RawReply::ok("{}"))).await.expect("a server")
}

/// A client of a server, with retries that do not wait.
pub(crate) fn client(origin: &Origin) -> HttpClientBuilder {
    HttpClient::builder(origin.url())
        .with_http(ClientBuilder::no_proxy)
        .with_retry_strategy(SimpleRetryStrategy::new().max_retries(3).delay(Duration::ZERO))
}

/// The values of a header in the requests that a server got.
pub(crate) fn sent(origin: &Origin, header: &str) -> Vec<Option<String>> {
    origin.requests().iter().map(|request: &RecordedRequest| request.header(header)).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The events, a line each.
#[derive(Clone, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub(crate) fn note(&self, what: impl Display) {
        lock(&self.0).push(what.to_string());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// Records the events that it sees, and may fail after that.
#[derive(Clone)]
pub(crate) struct Noting {
    pub(crate) name: &'static str,
    pub(crate) diary: Diary,
    pub(crate) fails: bool,
}

impl Noting {
    pub(crate) fn new(name: &'static str, diary: &Diary) -> Self {
        Self { name, diary: diary.clone(), fails: false }
    }

    pub(crate) fn failing(name: &'static str, diary: &Diary) -> Self {
        Self { fails: true, ..Self::new(name, diary) }
    }

    fn result(&self) -> HookResult {
        if self.fails { Err(format!("{} says no", self.name).into()) } else { Ok(()) }
    }
}

impl RequestHook for Noting {
    fn before_request(&self, request: &mut OutgoingRequest<'_>) -> HookResult {
        let (method, path, attempt) = (request.method(), request.url().path(), request.attempt());
        let trust = if request.is_trusted() { "" } else { ", not trusted" };
        self.diary.note(format!("{}: {attempt}. {method} {path}{trust}", self.name));
        self.result()
    }
}

impl ResponseHook for Noting {
    fn after_response(&self, response: &mut ReceivedResponse<'_>) -> HookResult {
        let (path, attempt) = (response.url().path(), response.attempt());
        self.diary.note(format!("{}: {attempt}. {path} -> {}", self.name, response.status_code().as_u16()));
        self.result()
    }
}

impl ErrorHook for Noting {
    fn on_error(&self, failed: &FailedCall<'_>) {
        let (path, attempts, error) = (failed.url().path(), failed.attempts(), failed.error());
        let kind = match () {
            () if error.is_hook() => "hook",
            () if error.is_authentication() => "authentication",
            () if error.is_redirect() => "redirect",
            () if error.is_connect() => "connect",
            () if error.is_timeout() => "timeout",
            () => "another",
        };
        let last = if error.is_max_retries() { " after retries" } else { "" };
        self.diary.note(format!("{}: {path} failed after {attempts}: {kind}{last}", self.name));
    }
}
