//! The client and token sources for programs without `async`.
//!
//! ```no_run
//! use forge_client::blocking::HttpClient;
//!
//! let client = HttpClient::builder("https://api.example.com").with_bearer_token("abc").build()?;
//! println!("{}", client.get("/users").send()?.error_for_status()?.text()?);
//! # Ok::<_, forge_client::HttpClientError>(())
//! ```
//!
//! The same client and the same managers stand behind it: what is said of [`crate::HttpClient`] is true of
//! this one. What differs:
//!
//! - A call blocks its thread. Threads may share a client; those who need a token wait for one fetch.
//! - Hooks and strategies run on the thread of the caller, and are within a runtime there.
//! - All blocking objects of a process share one tokio runtime, on a thread of its own, which is started at
//!   the first call. There connections live, and managers have tokens fetched, also while nobody calls: so a
//!   provider or storage of one's own must not block, or it stops all of them.
//!   It ends with the process, and what is under way then is cut off. Nothing waits for it, so clients may
//!   be in statics.
//!
//! # Where it is refused
//!
//! On a thread that a tokio runtime has entered, building a client and calling anything that waits is an
//! error ([`is_builder`](crate::HttpClientError::is_builder) of the field `blocking`), not a panic: it would
//! stop the runtime's other tasks. Use [`crate::HttpClient`] there. Dropping is fine anywhere.
//!
//! That goes for `spawn_blocking`, too, since tokio does not tell such a thread from one where waiting is
//! wrong. A thread of one's own is fine:
//!
//! ```no_run
//! # async fn run(
//! #     client: forge_client::blocking::HttpClient,
//! # ) -> Result<(), tokio::task::JoinError> {
//! tokio::task::spawn_blocking(move || {
//!     std::thread::scope(|scope| scope.spawn(|| client.get("/users").send()).join())
//! })
//! # .await.map(drop)
//! # }
//! ```
//!
//! A process that was forked off after the first call has no such runtime, and shares connections with its
//! parent. Calls are an error there; fork first.

mod client;
mod request;
mod request_many;
mod response;
mod runtime;
mod tokens;

pub use client::{HttpClient, HttpClientBuilder};
pub use request::RequestBuilder;
pub use request_many::RequestMany;
pub use response::{BodyReader, HttpResponse};
pub use tokens::Tokens;
