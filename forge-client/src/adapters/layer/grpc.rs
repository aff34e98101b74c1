use forge_core::AuthVerdict;
use http::response::Parts;
use http::{HeaderName, StatusCode};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The verdict of a gRPC response on the credential, by its head. A `grpc-status` of 16 (`UNAUTHENTICATED`)
/// counts as a 401.
///
/// Most servers that reject a credential send nothing but a head with this status ("Trailers-Only"). If the
/// status comes after messages, the server has accepted the credential.
///
/// ```
/// use requestforge::tower::{AuthLayer, grpc_verdict};
/// # fn run(manager: impl requestforge::TokenSource + 'static) -> Result<(), requestforge::ConfigError> {
/// let auth = AuthLayer::with_token_auth(manager)
///     .path_origin("https://grpc.example.com")
///     .judge_with(grpc_verdict)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn grpc_verdict(head: &Parts) -> AuthVerdict {
    match head.headers.get(GRPC_STATUS).map(http::HeaderValue::as_bytes) {
        Some(b"16") => AuthVerdict::of(StatusCode::UNAUTHORIZED, &head.headers),
        None | Some(b"0") => AuthVerdict::of(head.status, &head.headers),
        Some(_) => AuthVerdict::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unauthenticated_is_rejected_and_what_comes_with_messages_is_accepted() {
        for (status, headers, verdict) in [
            (200, &[][..], AuthVerdict::Accepted),
            (200, &[("grpc-status", "0")], AuthVerdict::Accepted),
            (200, &[("grpc-status", "16")], AuthVerdict::TokenRejected),
            (
                200,
                &[("grpc-status", "16"), ("www-authenticate", "Bearer error=\"insufficient_scope\"")],
                AuthVerdict::AccessDenied,
            ),
            (200, &[("grpc-status", "7")], AuthVerdict::Unknown),
            (200, &[("grpc-status", "14")], AuthVerdict::Unknown),
            (401, &[], AuthVerdict::TokenRejected),
            (503, &[], AuthVerdict::Unknown),
        ] {
            let mut response = http::Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            let (head, ()) = response.body(()).unwrap().into_parts();
            assert_eq!(grpc_verdict(&head), verdict, "{status} {headers:?}");
        }
    }
}
