//! For tests of your own (feature `test-util`): a clock that a test moves, and the conformance suite that every
//! storage must pass.
//!
//! ```
//! use std::time::Duration;
//! use requestforge::testing::ManualClock;
//! use requestforge::token::Clock;
//!
//! let clock = ManualClock::new();
//! let before = clock.now();
//! clock.advance(Duration::from_secs(60));
//! assert!(clock.now() != before);
//! ```
//!
//! A manager takes the clock in its builder. [`storage_conformance`]`::check(storage, "prefix:").await` tells
//! whether a storage of your own keeps its promises.

pub use forge_core::{ManualClock, storage_conformance};
