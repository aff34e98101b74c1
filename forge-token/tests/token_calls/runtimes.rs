//! Connections are driven by the runtime that opened them, and runtimes come and go.

use forge_core::TokenProvider;
use tokio::runtime::{Builder, Runtime};

use crate::server::{Server, Treatment};
use crate::{patient, provider_with};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

#[test]
fn a_connection_of_a_runtime_that_nobody_drives_costs_the_next_call_nothing() {
    let servers = Runtime::new().expect("a runtime");
    let server = servers.block_on(Server::start(|_, _| Treatment::Answer));
    let provider = provider_with(&server, "secret", patient());
    let idle = current_thread();
    for _ in 0..10 {
        idle.block_on(provider.fetch_token()).expect("a token");
    }
    assert!(server.connections() < 10, "within a runtime they are kept");
    // `idle` still exists, and so does its connection.
    current_thread().block_on(provider.fetch_token()).expect("a token");
    idle.block_on(provider.fetch_token()).expect("a token");
    assert_eq!(server.requests(), 12);
}

#[test]
fn hundreds_of_runtimes_call_through_one_transport() {
    let servers = Runtime::new().expect("a runtime");
    let server = servers.block_on(Server::start(|_, _| Treatment::Answer));
    let provider = provider_with(&server, "secret", patient());
    let runtimes: Vec<_> = (0..100).map(|_| current_thread()).collect();
    for _ in 0..2 {
        for runtime in &runtimes {
            runtime.block_on(provider.fetch_token()).expect("a token");
        }
    }
    assert_eq!(server.requests(), 200);
}

#[test]
fn a_transport_made_ready_outside_of_any_runtime_serves_the_first_that_calls() {
    let servers = Runtime::new().expect("a runtime");
    let server = servers.block_on(Server::start(|_, _| Treatment::Answer));
    let provider = provider_with(&server, "secret", patient());
    let runtime = Runtime::new().expect("a runtime");
    for _ in 0..10 {
        runtime.block_on(provider.fetch_token()).expect("a token");
    }
    // A call may come before the connection of the last one is back.
    assert!(server.connections() < 10, "{} connections", server.connections());
}
