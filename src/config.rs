//! Whole services from a file or from the environment: [`ServiceConfig`](crate::ServiceConfig),
//! [`Services`](crate::Services) and [`FromEnv`](crate::FromEnv).
//!
//! ```
//! use requestforge::Services;
//!
//! let services: Services = serde_json::from_str(
//!     r#"{"crm": {"base_url": "https://crm.example.com", "api_key": {"env": "CRM_KEY"}}}"#,
//! )?;
//! # drop(services);
//! # Ok::<_, serde_json::Error>(())
//! ```
//!
//! `services.get("crm")?` returns the service. Its `client()` is a client, its `client_builder()` a builder for
//! more settings, and its `token_manager()` the manager that the client uses.
//!
//! The environment has the same fields as variables, in capitals behind a prefix. `HttpClient::from_env()` reads
//! these:
//!
//! ```sh
//! REQUESTFORGE_BASE_URL=https://api.example.com
//! REQUESTFORGE_TOKEN_URL=https://auth.example.com/oauth/token
//! REQUESTFORGE_CLIENT_ID=shop
//! REQUESTFORGE_CLIENT_SECRET_FILE=/run/secrets/api
//! ```
//!
//! # Secrets
//!
//! A file of settings contains no secret. It refers to one: `{ file = "…" }` or `{ env = "…" }`. A variable with
//! `_FILE` at its end names the file of a secret. A secret in a file may rotate: the program reads it before each
//! token call and before each connection to Redis, and it reads tokens, keys and logins again after a 401.
//!
//! # Errors
//!
//! Unknown fields and variables, empty variables, and two kinds of credentials at once are errors that name them.

pub use forge_config::ServiceConfigError;
