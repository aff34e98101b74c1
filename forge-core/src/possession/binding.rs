use async_trait::async_trait;

use crate::AuthenticationError;

/// A provider whose tokens are bound to a key or to a certificate. Find it through
/// [`TokenProvider::binding`](crate::TokenProvider::binding).
#[async_trait]
pub trait TokenBinding: Send + Sync {
    /// The thumbprint of the key (RFC 7638) or the certificate (`x5t#S256`, RFC 8705 3.1) to which the issuer binds the
    /// provider's next token. It is public, and it changes when the key or the certificate rotates.
    ///
    /// # Errors
    ///
    /// The key or the certificate could not be read.
    async fn thumbprint(&self) -> Result<String, AuthenticationError>;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::{TokenData, TokenProvider};

    struct BoundProvider;

    #[async_trait]
    impl TokenBinding for BoundProvider {
        async fn thumbprint(&self) -> Result<String, AuthenticationError> {
            Ok("thumbprint".to_owned())
        }
    }

    #[async_trait]
    impl TokenProvider for BoundProvider {
        fn service_name(&self) -> &'static str {
            "bound"
        }

        async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
            Ok(TokenData::new("t"))
        }

        fn binding(&self) -> Option<&dyn TokenBinding> {
            Some(self)
        }
    }

    #[test]
    fn a_shared_provider_tells_its_binding_too() {
        let shared: Arc<dyn TokenProvider> = Arc::new(Arc::new(BoundProvider));
        let binding = shared.binding().unwrap();
        match pin!(binding.thumbprint()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(thumbprint) => assert_eq!(thumbprint.unwrap(), "thumbprint"),
            Poll::Pending => panic!("it is known at once"),
        }
    }
}
