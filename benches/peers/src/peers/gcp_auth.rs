use std::sync::Arc;

use gcp_auth::{CustomServiceAccount, Token, TokenProvider};

use super::{Peer, service_account};
use crate::Failure;
use crate::token_server::TokenServer;

pub struct GcpAuth(CustomServiceAccount);

impl GcpAuth {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        Ok(Self(CustomServiceAccount::from_json(&service_account::json(server)?)?))
    }
}

impl Peer for GcpAuth {
    type Token = Arc<Token>;
    type Error = gcp_auth::Error;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.token(&["read"])
    }
}
