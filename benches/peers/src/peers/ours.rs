use std::sync::Arc;

use forge_core::{AuthenticationError, Clock, Credential, TokenStorage};
use forge_token::{
    ClientCredentialsGrant, ClientCredentialsTokenProvider, OAuth2TokenProviderBuilder, TokenManager,
};

use super::Peer;
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Ours(TokenManager);

impl Ours {
    /// A manager alone: its slot is the storage.
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        Ok(Self(manager(server)?))
    }

    /// A manager above a storage.
    pub fn over(server: &TokenServer, storage: impl TokenStorage + 'static) -> Result<Self, Failure> {
        Ok(Self(TokenManager::builder(provider(server)?).storage(storage).build()?))
    }

    /// A manager with a clock that the suite can move.
    pub fn with_clock(server: &TokenServer, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let provider = builder(server).clock(Arc::clone(&clock)).build()?;
        Ok(Self(TokenManager::builder(provider).clock(clock).build()?))
    }
}

impl Peer for Ours {
    type Token = Arc<Credential>;
    type Error = AuthenticationError;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.0.get_token()
    }
}

/// A manager, for suites that need its own methods.
pub fn manager(server: &TokenServer) -> Result<TokenManager, Failure> {
    Ok(TokenManager::new(provider(server)?))
}

fn provider(server: &TokenServer) -> Result<ClientCredentialsTokenProvider, Failure> {
    Ok(builder(server).build()?)
}

fn builder(server: &TokenServer) -> OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(format!("{}/token", server.url()), "c", "s")
}
