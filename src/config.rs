//! Whole services from a file or from the environment: [`ServiceConfig`](crate::ServiceConfig),
//! [`Services`](crate::Services) and [`FromEnv`](crate::FromEnv).
//!
//! ```
//! use requestforge::Services;
//!
//! let services: Services = serde_json::from_str(
//!     r#"{"crm": {"base_url": "https://crm.example.com", "api_key": "k"}}"#,
//! )?;
//! # drop(services);
//! # Ok::<_, serde_json::Error>(())
//! ```

pub use forge_config::ServiceConfigError;
