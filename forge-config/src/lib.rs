//! Clients and token managers of whole services, from a configuration file or from environment variables. This crate is
//! the feature `config` of `requestforge`, which most programs depend on instead.
//!
//! # When to use it
//!
//! Use it if operators decide which services a program calls, with which credentials and limits. A service is a set of
//! fields: in a file of any format that serde reads, or in variables. If the code of the program decides, use the
//! builders, such as `requestforge::HttpClient::builder`.
//!
//! | you want | use |
//! | --- | --- |
//! | a client from environment variables | [`FromEnv`] |
//! | a client or a manager from a file with one service | [`ServiceConfig`], which has the table of all fields |
//! | several services in one file, by name | [`Services`] |
//!
//! # Example
//!
//! ```no_run
//! use requestforge::{FromEnv, HttpClient};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = HttpClient::from_env()?; // REQUESTFORGE_BASE_URL, REQUESTFORGE_CLIENT_ID, …
//! println!("{}", client.get("/users").send().await?.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//!
//! - A file never contains a secret, only a reference to a file or a variable that contains it.
//! - A service has credentials of one kind: a token, a key, a login, or `OAuth2` client credentials or password.
//!   Pipelines and providers of your own need code.
//! - Tables, such as `headers`, need a file. A variable cannot hold them.
//! - Nothing watches the configuration: a changed field takes effect when the program builds a new client. A secret in
//!   a file may change at any time.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod environment;
mod error;
mod fields;
mod from_env;
mod manager;
mod reference;
mod secret_token;
mod service;
mod services;
mod setting;
mod storage;

pub use error::ServiceConfigError;
pub use from_env::FromEnv;
pub use service::ServiceConfig;
pub use services::Services;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
