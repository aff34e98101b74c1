//! The token cache of `object_store` is private. Only the credential of a store is public. This uses an
//! Azure store, because only its authority can be chosen.

use std::sync::Arc;

use object_store::azure::{AzureCredential, AzureCredentialProvider, MicrosoftAzureBuilder};

use super::Peer;
use crate::Failure;
use crate::token_server::TokenServer;

pub struct ObjectStore(AzureCredentialProvider);

impl ObjectStore {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        let store = MicrosoftAzureBuilder::new()
            .with_account("account")
            .with_container_name("container")
            .with_client_secret_authorization("c", "s", "tenant")
            .with_authority_host(server.url())
            .with_allow_http(true)
            .build()?;
        Ok(Self(Arc::clone(store.credentials())))
    }
}

impl Peer for ObjectStore {
    type Token = Arc<AzureCredential>;
    type Error = object_store::Error;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.get_credential()
    }
}
