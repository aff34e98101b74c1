//! `google-cloud-auth`, with user credentials, because only their token endpoint can be chosen. It begins
//! its first fetch when it is built, before the first call.

use google_cloud_auth::credentials::user_account::Builder;
use google_cloud_auth::credentials::{AccessToken, AccessTokenCredentials, Credentials};
use google_cloud_auth::errors::CredentialsError;
use serde_json::json;

use super::Peer;
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Google(AccessTokenCredentials);

impl Google {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        Ok(Self(builder(server).build_access_token_credentials()?))
    }
}

impl Peer for Google {
    type Token = AccessToken;
    type Error = CredentialsError;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.access_token()
    }
}

/// The credentials object, which hands out ready headers.
pub fn headers(server: &TokenServer) -> Result<Credentials, Failure> {
    Ok(builder(server).build()?)
}

fn builder(server: &TokenServer) -> Builder {
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
    });
    Builder::new(user).with_token_uri(format!("{}/token", server.url()))
}
