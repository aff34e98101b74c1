use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, Body, ClientOptions, HttpClient, Request, Transport};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};

use super::Peer;
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Azure(Arc<ClientSecretCredential>);

impl Azure {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        let loopback = Loopback { client: reqwest::Client::new(), url: server.url() };
        let transport = Some(Transport::new(Arc::new(loopback)));
        let client_options = ClientOptions { transport, ..ClientOptions::default() };
        let options = ClientSecretCredentialOptions { client_options };
        let secret = Secret::new("s".to_owned());
        Ok(Self(ClientSecretCredential::new("tenant", "c".to_owned(), secret, Some(options))?))
    }
}

impl Peer for Azure {
    type Token = AccessToken;
    type Error = Error;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.get_token(&["read"], None)
    }
}

/// Sends requests for Microsoft's server to ours, because the library accepts no other server.
#[derive(Debug)]
struct Loopback {
    client: reqwest::Client,
    url: String,
}

#[async_trait]
impl HttpClient for Loopback {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let failed = |error: reqwest::Error| Error::new(ErrorKind::Io, error);
        let Body::Bytes(body) = request.body().clone() else {
            return Err(Error::with_message(ErrorKind::Other, "a stream is not expected here"));
        };
        let answer = self.client.post(&self.url).body(body).send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(status.into(), Headers::new(), body))
    }
}
