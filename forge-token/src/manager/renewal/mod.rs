//! One renewal: from the look into slot and storage to the outcome that all waiting callers get.
//!
//! [`machine`] decides what happens next, without I/O, clock or lock. [`driver`] does what the machine asks for and
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
