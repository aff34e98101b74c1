//! Clients and token managers of whole services, from a configuration file or from variables of the
//! environment.
//!
//! ```no_run
//! use forge_client::HttpClient;
//! use forge_config::FromEnv;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = HttpClient::from_env()?; // REQUESTFORGE_BASE_URL, REQUESTFORGE_CLIENT_ID, …
//! println!("{}", client.get("/users").send().await?.text().await?);
//! # Ok(())
//! # }
//! ```
//!
//! [`ServiceConfig`] has the table of all settings, [`Services`] are several of them by name.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod credentials;
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
