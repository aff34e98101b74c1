//! The circuit breaker: a client sends nothing to an origin that fails, until probes succeed.
//!
//! A client has no breaker unless `with_circuit_breaker` or a
//! [`CircuitBreakerRetryStrategy`](crate::CircuitBreakerRetryStrategy) gives it one. Each origin has a circuit of
//! its own. An open circuit sends nothing, and the call fails at once. A half-open one lets a few probes through,
//! and closes when they succeed.
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
