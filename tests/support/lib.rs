//! Servers on loopback for the integration suites and for the examples: HTTP over real
//! sockets, each with counters of its own, so that what a client did is told by those it did it to.
//!
//! - [`AuthorizationServer`] hands out tokens and can be slow, failing, or change its mind about them.
//! - [`Api`] wants one of those tokens, and counts who came with what and how often.
//! - [`MultiStepServer`] hands out tokens of which one buys the next, and wants the last one for its API.
//! - [`Origin`] is anybody's server: it records every byte and answers what a closure says.
//! - [`Proxy`] is the way to another server, and can be slow, silent or cut.
//!
//! [`undisturbed`] runs a case with real deadlines anew when the machine was to blame, and [`Machine`] tells.
//!
//! All servers listen on a free port, live on the runtime they were started on, and stop when dropped.
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
