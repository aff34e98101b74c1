//! The former names of what has been renamed, until the first release.

/// The verdict of a gRPC response on the credential.
#[deprecated(note = "renamed to `grpc_verdict`")]
#[must_use]
pub fn grpc_judgement(head: &http::response::Parts) -> forge_core::AuthVerdict {
    crate::grpc_verdict(head)
}
