use std::thread;

use http_body_util::Full;
use requestforge::blocking::HttpClient;
use requestforge::{TokenAuth, reqwest};
use tokio::sync::oneshot;

use super::{Answer, Body, Failure, Mount, Request};

/// Our client for threads that wait, which a test's runtime has not entered.
#[derive(Debug)]
pub(crate) struct Blocking(HttpClient);

impl Mount for Blocking {
    async fn new(auth: TokenAuth, origin: &str) -> Self {
        let builder = HttpClient::builder(origin).with_token_auth(auth);
        Self(on_a_thread(|| builder.build()).await.expect("a client"))
    }

    async fn send(&self, request: Request) -> Result<Answer, Failure> {
        let mut builder = self.0.request(request.method, request.url);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        builder = match request.body {
            Body::Empty => builder,
            Body::Whole(body) => builder.body(body),
            Body::Stream(body) => builder.body_stream(reqwest::Body::wrap(Full::new(body))),
        };
        on_a_thread(|| {
            let response = builder.send()?;
            let (status, headers) = (response.status_code(), response.headers().clone());
            Ok(Answer { status, headers, body: response.text()? })
        })
        .await
    }
}

async fn on_a_thread<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = oneshot::channel();
    // The receiver may be gone. The call goes on, because a program cannot stop a thread.
    thread::spawn(move || _ = done.send(call()));
    result.await.expect("no panic")
}
