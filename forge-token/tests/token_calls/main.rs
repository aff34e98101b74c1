//! How token endpoints are called, and what is told of a failure.

#![allow(clippy::expect_used, missing_docs)]

mod garbage;
mod server;

use forge_token::{ClientCredentials, ClientCredentialsTokenProvider, OAuth2TokenProvider};

use server::Server;

fn provider(server: &Server) -> OAuth2TokenProvider<ClientCredentials> {
    ClientCredentialsTokenProvider::builder(server.url(), "client", "secret")
        .service_name("test")
        .build()
        .expect("a provider")
}
