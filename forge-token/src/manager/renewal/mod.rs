//! One renewal: from the look into slot and storage to the outcome that all waiting callers get.
//!
//! [`machine`] decides about the next step, without I/O, clock or lock. [`driver`] performs the steps that it asks for and
//! tells it the answer:
//!
//! ```text
//! machine.start() ──> Action ──> driver.perform(action) ──> Input ──> machine.step(input) ──> Action ──> …
//! ```

mod action;
mod candidate;
mod driver;
mod keeping;
mod lease;
mod machine;
mod provider_calls;
#[cfg(test)]
mod tests;

pub(super) use driver::{IssuedToken, RenewalOutcome, RenewalResult, run_renewal};
