use forge_core::{
    AuthenticationError, AuthenticationErrorKind, SecretSource, TokenData, TokenProvider, async_trait,
    basic_credentials, is_token_text,
};

/// The provider of a token, key or login that a file or variable contains. The manager reads the source once, and again
/// after the API has rejected the credential. If the file has changed, the client sends the new credential. If not, the
/// client sends no second request.
pub(crate) struct SecretToken {
    service_name: String,
    /// The name of the field or variable, for errors.
    field: String,
    scheme: Scheme,
    secret: SecretSource,
}

/// The scheme in front of the credential, which also defines its encoding.
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

    /// An error of the configuration, because the file or variable is invalid and no server was called.
    fn unusable_error(&self, expected: &str) -> AuthenticationError {
        let message = format!("`{}`: expected {expected}", self.field);
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
        match &self.scheme {
            Scheme::Bearer if is_token_text(secret.expose()) => Ok(TokenData::new(secret)),
            Scheme::Bearer => Err(self.unusable_error("a non-empty secret of printable ASCII characters")),
            Scheme::Basic { username } => {
                // Only the password can be invalid here. Building the service has checked the user name.
                let credentials = basic_credentials(username, &secret)
                    .map_err(|error| self.unusable_error(error.expected()))?;
                Ok(TokenData::new(credentials).with_token_type("Basic"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use super::*;

    /// The token that a secret file with this content gives.
    fn fetched(name: &str, scheme: Scheme, content: &str) -> Result<TokenData, AuthenticationError> {
        let path = std::env::temp_dir().join(format!("forge-config-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let source = SecretSource::file(&path);
        let token = SecretToken::new("billing".to_owned(), "BILLING_KEY".to_owned(), scheme, &source);
        let fetched = block_on(token.fetch_token());
        std::fs::remove_file(&path).unwrap();
        fetched
    }

    fn refused(name: &str, scheme: Scheme, content: &str) -> String {
        let error = fetched(name, scheme, content).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
        assert!(!shown.contains("canary"), "{shown}");
        shown
    }

    #[test]
    fn the_error_for_a_file_without_a_token_names_its_field() {
        assert!(refused("no-token", Scheme::Bearer, "").contains("is empty"));
        for content in [" \n", "canary\u{e9}", "canary\nand more", "\u{feff}\u{feff}canary", "canary\n\n"] {
            let shown = refused("no-token", Scheme::Bearer, content);
            assert!(shown.contains("`BILLING_KEY`: expected"), "{shown}");
        }
        let token = fetched("no-token", Scheme::Bearer, "\u{feff}token\r\n").unwrap();
        assert_eq!(token.access_token(), "token");
    }

    #[test]
    fn the_error_for_a_password_with_a_control_character_names_its_field() {
        let user = || Scheme::Basic { username: "user".to_owned() };
        for content in ["canary\n\n", "canary\r\n\r\n", "cana\0ry", "canary\u{7f}\n"] {
            let shown = refused("no-password", user(), content);
            assert!(shown.contains("`BILLING_KEY`: expected no control characters"), "{shown}");
        }
        assert_eq!(fetched("no-password", user(), "päss\n").unwrap().access_token(), "dXNlcjpww6Rzcw==");
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}
