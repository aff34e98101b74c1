use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Secret, SecretSource, TokenData, TokenProvider,
    async_trait, is_token_text,
};
use zeroize::Zeroizing;

/// A credential that somebody else renews, as a token: a manager reads it once, and again when it was
/// rejected. So a file that has changed is noticed, and one that has not costs no second request.
pub(crate) struct SecretToken {
    service_name: String,
    /// The name of the secret's field in its source.
    field: String,
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
    pub(crate) fn new(service_name: String, field: String, scheme: Scheme, secret: &SecretSource) -> Self {
        Self { service_name, field, scheme, secret: secret.clone() }
    }

    /// The file or variable is at fault, not a server.
    fn no_token(&self) -> AuthenticationError {
        let message = format!("`{}`: expected a non-empty secret of printable ASCII characters", self.field);
        AuthenticationError::new(&self.service_name, AuthenticationErrorKind::Configuration)
            .with_message(message)
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
            Scheme::Bearer if !is_token_text(secret.expose()) => return Err(self.no_token()),
            Scheme::Bearer => TokenData::new(secret),
            Scheme::Basic { username } => {
                let login = Zeroizing::new(format!("{username}:{}", secret.expose()));
                TokenData::new(Secret::from(STANDARD.encode(login.as_bytes()))).with_token_type("Basic")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_file_that_holds_no_token_is_told_by_its_field() {
        let path = std::env::temp_dir().join(format!("forge-config-no-token-{}", std::process::id()));
        for content in ["", " \n", "canary\u{e9}", "canary\nand more", "\u{feff}canary"] {
            std::fs::write(&path, content).unwrap();
            let source = SecretSource::file(&path);
            let token =
                SecretToken::new("billing".to_owned(), "BILLING_KEY".to_owned(), Scheme::Bearer, &source);
            let error = at_once(token.fetch_token()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
            assert!(content.is_empty() || shown.contains("`BILLING_KEY`: expected"), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    fn at_once<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }
}
