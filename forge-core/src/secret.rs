use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use http::header::InvalidHeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// A value that appears in no output: client secrets, passwords, tokens.
///
/// `Debug` prints a placeholder, there is no `Display`, and `drop` overwrites the memory. Other crates make copies while
/// they serialise, encrypt and send a request (`serde_json`, `hyper`, TLS); this type cannot overwrite those.
///
/// ```
/// use requestforge::Secret;
///
/// let secret = Secret::from("s3cret");
/// assert_eq!(format!("{secret:?}"), "Secret([redacted])");
/// assert_eq!(secret.expose(), "s3cret");
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The value. A search for this method's name finds each place that reads a secret.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value as a header, marked sensitive. The drop of the last clone overwrites the bytes.
    ///
    /// # Errors
    ///
    /// The secret contains a character that no header can contain.
    pub fn into_header_value(self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(OwnedSecret(self)))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// The secret that owns the bytes of a header value.
struct OwnedSecret(Secret);

impl AsRef<[u8]> for OwnedSecret {
    fn as_ref(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(SecretString::from(value))
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self::from(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}
