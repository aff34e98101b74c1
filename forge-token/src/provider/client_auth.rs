use forge_core::{AuthenticationError, ConfigError, Secret, SecretSource, basic_credentials};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use zeroize::Zeroizing;

use super::credential_text::{check_client_text, check_known, invalid_credential_error};

/// How a client authenticates at a token endpoint (RFC 6749 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthMethod {
    /// `client_id` and `client_secret` in the body. The default.
    #[default]
    Body,
    /// HTTP Basic, with percent-encoded identifier and secret, as RFC 6749 demands. A space becomes `%20`: the encoding
    /// also allows `+`, but some servers refuse it.
    Header,
    /// HTTP Basic without that encoding, for servers that do not decode. The client identifier then must not contain a
    /// colon.
    HeaderRaw,
}

/// The client's identifier, the source of its secret, and the method by which it authenticates.
pub(super) struct ClientAuth {
    id: String,
    pub(super) secret: SecretSource,
    method: AuthMethod,
}

impl ClientAuth {
    pub(super) fn new(id: String, secret: SecretSource, method: AuthMethod) -> Result<Self, ConfigError> {
        if method == AuthMethod::HeaderRaw && id.contains(':') {
            return Err(ConfigError::new("client_id", "no colon, since `HeaderRaw` does not encode it"));
        }
        check_client_text("client_id", &id)?;
        check_known("client_secret", &secret, check_client_text)?;
        Ok(Self { id, secret, method })
    }

    pub(super) fn form_fields<'a>(&'a self, secret: &'a Secret) -> Vec<(&'static str, &'a str)> {
        match self.method {
            AuthMethod::Body => vec![("client_id", &self.id), ("client_secret", secret.expose())],
            AuthMethod::Header | AuthMethod::HeaderRaw => Vec::new(),
        }
    }

    pub(super) fn set_header(
        &self,
        secret: &Secret,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthenticationError> {
        if let Some(pair) = self.basic_pair(secret)? {
            let value = Secret::from(format!("Basic {}", pair.expose())).into_header_value();
            let value = value.map_err(|error| {
                let expected = ConfigError::new("client_secret", "a value that fits into a header");
                invalid_credential_error(&expected.with_source(error))
            })?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(())
    }

    /// Identifier and secret in the form of HTTP Basic; `None` if the client authenticates by another method.
    pub(super) fn basic_pair(&self, secret: &Secret) -> Result<Option<Secret>, AuthenticationError> {
        let pair = match self.method {
            AuthMethod::Body => return Ok(None),
            AuthMethod::Header => basic_credentials(
                &percent_encoded(&self.id),
                &Secret::from(&**percent_encoded(secret.expose())),
            ),
            AuthMethod::HeaderRaw => basic_credentials(&self.id, secret),
        };
        pair.map(Some).map_err(|error| invalid_credential_error(&error))
    }
}

/// All characters but the unreserved ones (RFC 3986 2.3), which stay unchanged.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn percent_encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(utf8_percent_encode(text, RESERVED).to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn header(id: &str, secret: &str, method: AuthMethod) -> String {
        let client = ClientAuth::new(id.to_owned(), secret.into(), method).unwrap();
        let mut headers = HeaderMap::new();
        client.set_header(&Secret::from(secret), &mut headers).unwrap();
        let value = &headers[AUTHORIZATION];
        assert!(value.is_sensitive());
        let encoded = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn basic_is_percent_encoded_unless_raw() {
        let (id, secret) = ("my app", "p+s: %é~/");
        assert_eq!(header(id, secret, AuthMethod::Header), "my%20app:p%2Bs%3A%20%25%C3%A9~%2F");
        assert_eq!(header(id, secret, AuthMethod::HeaderRaw), "my app:p+s: %é~/");
    }

    #[test]
    fn a_raw_identifier_with_a_colon_is_refused() {
        let refused = ClientAuth::new("a:b".to_owned(), "canary".into(), AuthMethod::HeaderRaw);
        assert_eq!(refused.err().map(|error| error.field()), Some("client_id"));
    }
}
