//! The circuit breaker: a client sends nothing to an origin that fails, until probes succeed.
//!
//! ```
//! use std::time::Duration;
//! use requestforge::breaker::CircuitState;
//! use requestforge::{CircuitBreaker, HttpClient};
//!
//! let breaker = CircuitBreaker::new();
//! let client = HttpClient::builder("https://api.example.com")
//!     .with_circuit_breaker(breaker.clone()) // clones share their circuits
//!     .build()?;
//! assert_eq!(breaker.state("https://api.example.com")?, CircuitState::Closed);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

pub use forge_client::{CircuitBreakerBuilder, CircuitOpen, CircuitState, CircuitTransition};
