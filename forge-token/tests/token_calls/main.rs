//! Calls of token endpoints: their connections, their number, and the error of a failed call.

#![allow(clippy::expect_used, missing_docs)]

mod connections;
mod garbage;
mod repetitions;
mod runtimes;
mod server;

use std::time::Duration;

use forge_core::{SecretSource, TokenData};
use forge_token::{
    ClientCredentialsGrant, ClientCredentialsTokenProvider, HttpTransport, OAuth2TokenProvider,
};

use server::Server;

/// A provider with connections of its own.
fn provider(server: &Server) -> OAuth2TokenProvider<ClientCredentialsGrant> {
    provider_with(server, "secret", patient())
}

/// No test here is about time-outs, so the time-outs are long enough for a slow machine.
fn patient() -> HttpTransport {
    let limit = Duration::from_secs(60);
    HttpTransport::with(move |http| http.timeout(limit).connect_timeout(limit))
}

fn provider_with(
    server: &Server,
    secret: impl Into<SecretSource>,
    transport: HttpTransport,
) -> OAuth2TokenProvider<ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(server.url(), "client", secret)
        .service_name("test")
        .transport(transport)
        .build()
        .expect("a provider")
}

fn refreshable() -> TokenData {
    TokenData::new("old").with_refresh_token("once")
}
