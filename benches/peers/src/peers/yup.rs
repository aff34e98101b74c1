use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use yup_oauth2::authenticator::Authenticator;
use yup_oauth2::client::CustomHyperClientBuilder;
use yup_oauth2::{AccessToken, ServiceAccountAuthenticator, ServiceAccountKey};

use super::{Peer, service_account};
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Yup(Authenticator<HttpConnector>);

impl Yup {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        let key: ServiceAccountKey = serde_json::from_str(&service_account::json(server)?)?;
        // The library's own client supports https only.
        let client = Client::builder(TokioExecutor::new()).build_http::<String>();
        let client = CustomHyperClientBuilder::from(client);
        Ok(Self(ServiceAccountAuthenticator::with_client(key, client).build().await?))
    }
}

impl Peer for Yup {
    type Token = AccessToken;
    type Error = yup_oauth2::Error;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.token(&["read"])
    }
}
