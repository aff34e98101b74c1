//! The former names of what has been renamed, until the first release.

/// What a gRPC answer says of the credential that its request carried.
#[deprecated(note = "renamed to `grpc_verdict`")]
#[must_use]
pub fn grpc_judgement(head: &http::response::Parts) -> forge_core::AuthVerdict {
    crate::grpc_verdict(head)
}
