use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{AuthenticationError, Secret, SecretSource, TokenData, TokenProvider, async_trait};
use zeroize::Zeroizing;

/// A credential that somebody else renews, as a token: a manager reads it once, and again when it was
/// rejected. So a file that has changed is noticed, and one that has not costs no second request.
pub(crate) struct SecretToken {
    service_name: String,
    scheme: Scheme,
    secret: SecretSource,
}

/// What stands before it, and how it is written.
pub(crate) enum Scheme {
    Bearer,
    /// RFC 7617.
    Basic {
        username: String,
    },
}

impl SecretToken {
    pub(crate) fn new(service_name: String, scheme: Scheme, secret: &SecretSource) -> Self {
        Self { service_name, scheme, secret: secret.clone() }
    }
}

#[async_trait]
impl TokenProvider for SecretToken {
    fn service_name(&self) -> &str {
        &self.service_name
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let read = self.secret.read().await;
        let secret = read.map_err(|error| error.or_service_name(&self.service_name))?;
        Ok(match &self.scheme {
            Scheme::Bearer => TokenData::new(secret),
            Scheme::Basic { username } => {
                let login = Zeroizing::new(format!("{username}:{}", secret.expose()));
                TokenData::new(Secret::from(STANDARD.encode(login.as_bytes()))).with_token_type("Basic")
            }
        })
    }
}
