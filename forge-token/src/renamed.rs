//! The former names of what has been renamed, until the first release.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthenticationError, Credential, TokenId, TokenRequirement};

use crate::{TokenAttempt, TokenManager, TokenProvenance};

#[deprecated(note = "renamed to `TokenProvenance`")]
pub type TokenOrigin = TokenProvenance;

impl TokenManager {
    #[deprecated(note = "moved to `as_dependency().get_token_for`")]
    #[doc(hidden)]
    #[allow(clippy::missing_errors_doc)]
    pub async fn get_token_for(
        &self,
        requirement: TokenRequirement,
    ) -> Result<(Arc<Credential>, TokenProvenance), AuthenticationError> {
        self.as_dependency().get_token_for(requirement).await
    }

    #[deprecated(note = "moved to `as_dependency().get_token_instead_of`")]
    #[doc(hidden)]
    #[allow(clippy::missing_errors_doc)]
    pub async fn get_token_instead_of(
        &self,
        rejected: &Credential,
    ) -> Result<Option<(Arc<Credential>, TokenProvenance)>, AuthenticationError> {
        self.as_dependency().get_token_instead_of(rejected).await
    }

    #[deprecated(note = "moved to `as_dependency().find_token`")]
    #[doc(hidden)]
    pub async fn find_token(&self) -> Option<Arc<Credential>> {
        self.as_dependency().find_token().await
    }

    #[deprecated(note = "moved to `as_dependency().discard_token`")]
    #[doc(hidden)]
    pub async fn discard_token(&self, id: TokenId) {
        self.as_dependency().discard_token(id).await;
    }
}

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
