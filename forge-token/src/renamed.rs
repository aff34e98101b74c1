//! The former names of what has been renamed, until the first release.

use std::time::Duration;

use forge_core::AuthenticationError;

use crate::TokenAttempt;

#[deprecated(note = "renamed to `TokenProvenance`")]
pub type TokenOrigin = crate::TokenProvenance;

#[deprecated(note = "renamed to `ClientCredentialsGrant`")]
pub type ClientCredentials = crate::ClientCredentialsGrant;

#[deprecated(note = "renamed to `PasswordGrant`")]
pub type Password = crate::PasswordGrant;

/// Makes a token call, and repeats it once where a second attempt may succeed.
///
/// # Errors
///
/// As [`call_with_one_retry`](crate::call_with_one_retry).
#[deprecated(note = "renamed to `call_with_one_retry`")]
pub async fn call_repeatably<T, F, Fut>(limit: Option<Duration>, attempt: F) -> Result<T, AuthenticationError>
where
    F: Fn(TokenAttempt) -> Fut,
    Fut: Future<Output = Result<T, AuthenticationError>>,
{
    crate::call_with_one_retry(limit, attempt).await
}
