use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::{AuthenticationError, AuthenticationErrorKind, Secret, SecretSource};

/// The certificate and the private key with which a client authenticates on TLS connections (RFC 8705), as PEM.
///
/// Both are read anew each time, so an identity that rotates needs no restart.
///
/// ```
/// use requestforge::SecretSource;
/// use requestforge::auth::ClientIdentity;
///
/// let identity = ClientIdentity::new(
///     SecretSource::file("/run/secrets/tls.crt"),
///     SecretSource::file("/run/secrets/tls.key"),
/// );
/// # drop(identity);
/// ```
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    certificate: SecretSource,
    key: SecretSource,
}

impl ClientIdentity {
    /// An identity whose certificate chain (the client's own certificate first) and key come from these sources.
    #[must_use]
    pub fn new(certificate: impl Into<SecretSource>, key: impl Into<SecretSource>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }

    /// Reads the current certificate and key.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::Configuration`]: a source could not be read, the certificate source contains no PEM
    /// `CERTIFICATE`, or the key source contains no PEM `PRIVATE KEY`.
    pub async fn load(&self) -> Result<LoadedClientIdentity, AuthenticationError> {
        let (certificate, key) = (self.certificate.read().await?, self.key.read().await?);
        let Some(der) = first_certificate(certificate.expose()) else {
            return Err(invalid("client identity: the certificate contains no PEM section `CERTIFICATE`"));
        };
        if !key.expose().contains("PRIVATE KEY-----") {
            return Err(invalid("client identity: the key contains no PEM section `PRIVATE KEY`"));
        }
        let fingerprint = URL_SAFE_NO_PAD.encode(Sha256::digest(der));
        Ok(LoadedClientIdentity { certificate, key, fingerprint })
    }
}

/// The certificate and the key that [`ClientIdentity::load`] has read.
#[derive(Clone)]
pub struct LoadedClientIdentity {
    certificate: Secret,
    key: Secret,
    fingerprint: String,
}

impl LoadedClientIdentity {
    /// The certificate chain, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &Secret {
        &self.certificate
    }

    /// The private key, as PEM.
    #[must_use]
    pub fn key(&self) -> &Secret {
        &self.key
    }

    /// The SHA-256 of the client's own certificate in base64url (`x5t#S256`, RFC 8705 3.1). It names the
    /// certificate and is no secret.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl fmt::Debug for LoadedClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedClientIdentity").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The bytes of the first certificate in a PEM text (RFC 7468).
fn first_certificate(pem: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(BEGIN)?;
    let (base64, _) = rest.split_once(END)?;
    let base64: String = base64.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok().filter(|der| !der.is_empty())
}

fn invalid(message: &str) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(message)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Printed by `openssl dgst -sha256` for the bytes in `CERTIFICATE`.
    const FINGERPRINT: &str = "PD_xqDMOj-MC2PwCzU6eJo0re2uY7LIMbGSQgFeqoSk";
    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\r\nYnl0ZXMgdGhhdCBzdGFuZCBmb3IgYSBjZXJ0aWZpY2F0ZQ==\r\n-----END CERTIFICATE-----\r\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n";

    #[test]
    fn inv16_a_loaded_identity_has_the_fingerprint_of_its_first_certificate_and_shows_no_key() {
        let chain = format!("subject=CN\n{CERTIFICATE}{BEGIN}\n{}\n{END}\n", STANDARD.encode("the issuer"));
        let loaded = load(&chain, KEY).unwrap();
        assert_eq!(loaded.fingerprint(), FINGERPRINT);
        assert_eq!((loaded.certificate().expose(), loaded.key().expose()), (chain.as_str(), KEY));
        assert!(!format!("{loaded:?} {:?}", ClientIdentity::new(chain, KEY)).contains("canary"));
    }

    #[test]
    fn what_is_no_pem_is_an_error_that_names_the_part_and_shows_nothing() {
        for (certificate, key, part) in [
            ("canary", KEY, "certificate"),
            ("-----BEGIN CERTIFICATE-----\n!canary\n-----END CERTIFICATE-----", KEY, "certificate"),
            ("-----BEGIN CERTIFICATE-----\ncanary", KEY, "certificate"),
            (CERTIFICATE, "canary", "key"),
            (CERTIFICATE, CERTIFICATE, "key"),
        ] {
            let error = load(certificate, key).unwrap_err();
            assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
            let text = format!("{error} {error:?}");
            assert!(
                text.contains(&format!("the {part} contains no PEM")) && !text.contains("canary"),
                "{text}"
            );
        }
    }

    fn load(certificate: &str, key: &str) -> Result<LoadedClientIdentity, AuthenticationError> {
        let identity = ClientIdentity::new(certificate, key);
        match pin!(identity.load()).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(loaded) => loaded,
            Poll::Pending => panic!("values are read at once"),
        }
    }
}
