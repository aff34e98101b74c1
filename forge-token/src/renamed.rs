//! The former names of what has been renamed, until the first release.

#[deprecated(note = "renamed to `TokenProvenance`")]
pub type TokenOrigin = crate::TokenProvenance;
