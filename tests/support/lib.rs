//! Servers on loopback for the integration suites and for the examples: HTTP over real sockets. Each server
//! has counters of its own, so that the servers tell what a client did.
//!
//! - [`AuthorizationServer`] hands out tokens. It can be slow, fail, or revoke its tokens.
//! - [`Api`] accepts those tokens, and counts the requests and the tokens.
//! - [`MultiStepServer`] hands out tokens in steps: one token buys the next, and its API needs the last one.
//! - [`Origin`] is a server without rules: it records every byte, and a closure chooses its answers.
//! - [`Proxy`] forwards to another server. It can be slow, silent or cut.
//!
//! [`undisturbed`] repeats a case with real deadlines if the machine stood still. [`Machine`] measures that.
//!
//! All servers listen on a free port, run on the runtime that started them, and stop when they are dropped.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! use forge_tests::{Api, AuthorizationServer};
//!
//! let authorization_server = AuthorizationServer::start().await?;
//! let api = Api::start(&authorization_server).await?;
//! // … a client under test, with `authorization_server.token_url()` and `api.base_url()` …
//! assert_eq!(authorization_server.token_calls(), 0);
//! assert_eq!(api.rejected(), 0);
//! # Ok::<_, std::io::Error>(()) })?;
//! # Ok::<_, std::io::Error>(())
//! ```

mod api;
mod authorization_server;
#[cfg(feature = "fleet")]
pub mod fleet;
mod holds;
mod machine;
mod multi_step;
mod origin;
mod proxy;
#[cfg(test)]
mod raw_http;
#[cfg(feature = "redis")]
mod redis;
mod server;
mod tokens;

pub use api::Api;
pub use authorization_server::AuthorizationServer;
pub use http::StatusCode;
pub use machine::{Machine, undisturbed};
pub use multi_step::{MultiStepServer, Step};
pub use origin::{Origin, RawReply, RecordedRequest};
pub use proxy::Proxy;
#[cfg(feature = "redis")]
pub use redis::{Authority, Identity, RedisCluster, RedisNode, RedisSentinel, RedisServer, SlotMove};
pub use server::ClosedPort;
