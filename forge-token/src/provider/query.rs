//! Parameters in the query of a token URL.

use forge_core::{AuthenticationError, ConfigError, Secret, SecretSource, looks_like_credential_name};

use super::credential_text::{check_client_text, check_known};
use crate::TokenEndpoint;

/// The secrets in the query of the token URL. The provider reads them before each call.
#[derive(Default)]
pub(super) struct SecretQuery(Vec<(String, SecretSource)>);

impl SecretQuery {
    pub(super) fn push(&mut self, name: String, value: SecretSource) {
        self.0.push((name, value));
    }

    pub(super) async fn read(&self) -> Result<Vec<(String, Secret)>, AuthenticationError> {
        let mut secrets = Vec::with_capacity(self.0.len());
        for (name, source) in &self.0 {
            secrets.push((name.clone(), source.read().await?));
        }
        Ok(secrets)
    }
}

/// Checks that no secret gets into the cache key with the URL, and that each parameter has a name and each secret a value.
pub(super) fn check(
    endpoint: &TokenEndpoint,
    public: &[(String, String)],
    secret: &SecretQuery,
) -> Result<(), ConfigError> {
    // The error shows neither name nor value: a URL's author may have put the secret in either place.
    if endpoint.url().query_pairs().any(|(name, _)| looks_like_credential_name(&name)) {
        return Err(ConfigError::new(
            "token_url",
            "a query without secrets; one parameter is named like a secret, so pass it with `secret_query_param`, \
             because the URL is part of the cache key",
        ));
    }
    for (name, _) in public {
        if name.is_empty() {
            return Err(ConfigError::new("query_param", "a name that is not empty"));
        }
        if looks_like_credential_name(name) {
            let expected = format!(
                "a name that does not look like the name of a secret; pass `{name}` with `secret_query_param`, \
                 because a `query_param` is part of the cache key"
            );
            return Err(ConfigError::new("query_param", expected));
        }
    }
    for (name, source) in &secret.0 {
        let is_empty = source.value().is_some_and(|value| value.expose().is_empty());
        if name.is_empty() || is_empty {
            return Err(ConfigError::new("secret_query_param", "a name and a value that are not empty"));
        }
        check_known("secret_query_param", source, check_client_text)?;
    }
    Ok(())
}
