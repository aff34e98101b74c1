use http_body_util::Full;
use requestforge::reqwest;
use requestforge::{HttpClient, TokenAuth};

use super::{Answer, Body, Failure, Mount, Request};

/// Our own client, which follows redirects.
#[derive(Debug)]
pub(crate) struct Client(HttpClient);

impl Mount for Client {
    async fn new(auth: TokenAuth, origin: &str) -> Self {
        Self(HttpClient::builder(origin).with_token_auth(auth).build().expect("a client"))
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
        let response = builder.send().await?;
        let (status, headers) = (response.status_code(), response.headers().clone());
        Ok(Answer { status, headers, body: response.text().await? })
    }
}
