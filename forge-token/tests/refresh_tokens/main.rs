//! The manager's next steps after a call with a refresh token, without a storage and over one in memory
//! (invariants 23 and 25). The suite `redis` tests the same rows over Redis.

#![allow(clippy::expect_used, missing_docs)]

mod faults;
mod forced;
mod hooks;
mod issuer;
mod leases;
mod log;
mod patience;
mod scripted;
mod states;
mod world;

/// The library's names, as `issuer.rs` needs them.
mod api {
    pub(crate) use forge_core::{
        AuthenticationError, AuthenticationErrorKind, Clock, TokenData, TokenProvider, async_trait,
    };
    pub(crate) use http::StatusCode;
}
