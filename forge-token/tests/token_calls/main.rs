//! How token endpoints are called: on which connections, how often, and what is told of a failure.

#![allow(clippy::expect_used, missing_docs)]

mod connections;
mod garbage;
mod repetitions;
mod server;

use forge_core::{SecretSource, TokenData};
use forge_token::{ClientCredentials, ClientCredentialsTokenProvider, HttpTransport, OAuth2TokenProvider};

use server::Server;

/// A provider with connections of its own.
fn provider(server: &Server) -> OAuth2TokenProvider<ClientCredentials> {
    provider_with(server, "secret", HttpTransport::with(|http| http))
}

fn provider_with(
    server: &Server,
    secret: impl Into<SecretSource>,
    transport: HttpTransport,
) -> OAuth2TokenProvider<ClientCredentials> {
    ClientCredentialsTokenProvider::builder(server.url(), "client", secret)
        .service_name("test")
        .transport(transport)
        .build()
        .expect("a provider")
}

fn refreshable() -> TokenData {
    TokenData::new("old").with_refresh_token("once")
}
