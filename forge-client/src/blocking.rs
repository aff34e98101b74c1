//! The client and token sources for programs without `async`.
//!
//! ```no_run
//! use requestforge::blocking::HttpClient;
//!
//! let client = HttpClient::builder("https://api.example.com").with_bearer_token("abc").build()?;
//! println!("{}", client.get("/users").send()?.error_for_status()?.text()?);
//! # Ok::<_, requestforge::HttpClientError>(())
//! ```
//!
//! These types wrap the async client and token sources, so the documentation of [`crate::HttpClient`] holds for
//! them. The differences:
//!
//! - A call blocks its thread. Threads may share a client; all threads that need a token wait for one fetch.
//! - Hooks and strategies run on the thread of the caller, within a runtime.
//! - All blocking objects of a process share one tokio runtime. The first call starts it on a thread of its
//!   own. Connections live there, and managers fetch tokens there, also between calls. So a provider or storage
//!   of your own must not block that thread. The runtime ends with the process, and nothing waits for it, so
//!   clients may be in statics.
//!
//! # Where it is refused
//!
//! On a thread that a tokio runtime has entered, to build a client or to wait for anything is an error
//! ([`is_builder`](crate::HttpClientError::is_builder), with the field `blocking`) and not a panic: waiting
//! there would stop other tasks of the runtime. Use [`crate::HttpClient`] there. You can drop blocking objects
//! anywhere.
//!
//! `spawn_blocking` is refused, too, because tokio does not tell its threads from those that must not wait. A
//! thread of your own is fine:
//!
//! ```no_run
//! # async fn run(
//! #     client: requestforge::blocking::HttpClient,
//! # ) -> Result<(), tokio::task::JoinError> {
//! tokio::task::spawn_blocking(move || {
//!     std::thread::scope(|scope| scope.spawn(|| client.get("/users").send()).join())
//! })
//! # .await.map(drop)
//! # }
//! ```
//!
//! A process that was forked after the first call has no such runtime, and shares connections with its parent.
//! Calls are errors there. Fork before the first call.

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
