//! Around a [`TokenManager`](crate::TokenManager): its settings, its status, the clock, and what a provider is asked
//! for.
//!
//! ```
//! use requestforge::{ClientCredentialsTokenProvider, TokenManager};
//! use requestforge::token::TokenStatus;
//!
//! # fn run(provider: ClientCredentialsTokenProvider) -> Result<(), requestforge::ConfigError> {
//! let manager = TokenManager::builder(provider).build()?;
//! let status: TokenStatus = manager.status(); // for a readiness probe: asks nobody
//! # drop(status);
//! # Ok(())
//! # }
//! ```

pub use forge_core::{Clock, ClockReading, SystemClock, TokenId, TokenRequirement};
pub use forge_token::{TokenManagerBuilder, TokenProvenance, TokenStatus};
