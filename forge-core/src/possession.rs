//! Proof of possession: tokens that work only together with a private key (RFC 8705, RFC 9449).
//!
//! These traits and types contain neither cryptography nor TLS. A crate that signs implements [`ProofOfPossession`]. No
//! client of this version uses them yet. A client will await a new proof for each attempt, after it has chosen a
//! credential and before it adds the credential to the request.

mod binding;
mod client_identity;
mod nonce_store;
mod proof;

pub use binding::TokenBinding;
pub use client_identity::{ClientIdentity, LoadedClientIdentity};
pub use nonce_store::NonceStore;
pub use proof::{ProofOfPossession, ProofRequest};
