//! TLS, where a feature brings it.

use forge_core::ConfigError;
use redis::{Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, TlsCertificates};
use zeroize::Zeroizing;

/// Whom we trust, and who we say we are.
#[derive(Default)]
pub(crate) struct Certificates {
    pub(crate) roots: Option<Vec<u8>>,
    /// Chain and key.
    pub(crate) client: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

impl Certificates {
    fn are_given(&self) -> bool {
        self.roots.is_some() || self.client.is_some()
    }

    /// The address with these certificates.
    ///
    /// # Errors
    ///
    /// They are none, or the address is one without TLS.
    pub(crate) fn apply(&self, address: ConnectionAddr) -> Result<ConnectionAddr, ConfigError> {
        if !matches!(address, ConnectionAddr::TcpTls { .. }) {
            if self.are_given() {
                return Err(ConfigError::new("url", "rediss://… or valkeys://…, since certificates are set"));
            }
            return Ok(address);
        }
        #[cfg(all(feature = "rustls-no-provider", not(feature = "rustls")))]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let expected = "a crypto provider of rustls, installed by the program before this";
            return Err(ConfigError::new("url", expected));
        }
        if !self.are_given() {
            return Ok(address);
        }
        let has = |pem: &[u8], what: &str| pem.windows(what.len()).any(|part| part == what.as_bytes());
        if self.roots.as_ref().is_some_and(|roots| !has(roots, "-----BEGIN CERTIFICATE-----")) {
            return Err(ConfigError::new("root_certificates", "certificates in PEM format"));
        }
        let field = if self.client.is_some() { "client_certificate" } else { "root_certificates" };
        let refused = |_| ConfigError::new(field, "certificates in PEM format, and a key of the client's");
        let certificates = TlsCertificates {
            client_tls: self
                .client
                .as_ref()
                .map(|(chain, key)| ClientTlsConfig { client_cert: chain.clone(), client_key: key.to_vec() }),
            root_cert: self.roots.clone(),
        };
        let info = address.into_connection_info().map_err(refused)?;
        let client = Client::build_with_tls(info, certificates).map_err(refused)?;
        Ok(client.get_connection_info().addr().clone())
    }
}

/// The redis crate panics without a provider that is installed, or the only one compiled in.
#[cfg(feature = "rustls")]
pub(crate) fn install_provider() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    if CryptoProvider::get_default().is_none() {
        // Somebody may have been faster: then there is one.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Why there is no TLS, if that is what this says.
#[cfg(feature = "rustls-no-provider")]
pub(crate) fn refusal(error: &std::io::Error) -> Option<String> {
    use rustls::{AlertDescription, CertificateError, Error};

    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        // The signature does not fit where two authorities have one name.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate was issued by nobody whom we trust".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another name".to_owned(),
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked,
        ) => "the server wants another certificate of the client".to_owned(),
        error => format!("TLS: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RedisTokenStorage;

    const ADDRESS: &str = "rediss://127.0.0.1:1";

    #[cfg(feature = "rustls")]
    fn refused(certificates: &Certificates) -> String {
        let address = ADDRESS.into_connection_info().unwrap().addr().clone();
        certificates.apply(address).unwrap_err().to_string()
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        for roots in [&b""[..], b"canary", b"-----BEGIN CERTIFICATE-----\ncanary"] {
            let told = refused(&Certificates { roots: Some(roots.to_vec()), client: None });
            assert!(told.contains("root_certificates") && !told.contains("canary"), "{told}");
        }
        let key = b"-----BEGIN PRIVATE KEY-----\ncanary".to_vec().into();
        let told = refused(&Certificates { roots: None, client: Some((b"canary".to_vec(), key)) });
        assert!(told.contains("client_certificate") && !told.contains("canary"), "{told}");
    }

    #[test]
    fn certificates_are_for_addresses_with_tls() {
        let build = |url| RedisTokenStorage::builder(url).root_certificates("canary").build();
        assert_eq!(build("redis://127.0.0.1:1").unwrap_err().field(), "url");
        let insecure = RedisTokenStorage::new("rediss://127.0.0.1:1#insecure").unwrap_err();
        assert!(insecure.to_string().contains("#insecure"), "{insecure}");
    }

    #[cfg(feature = "rustls")]
    #[tokio::test]
    async fn a_crypto_provider_is_installed_where_there_is_none() {
        use forge_core::TokenStorage;

        let storage = RedisTokenStorage::new(ADDRESS).unwrap();
        storage.get("k").await.unwrap_err();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }

    #[cfg(all(feature = "rustls-no-provider", not(feature = "rustls")))]
    #[test]
    fn a_crypto_provider_that_is_missing_is_asked_for() {
        let error = RedisTokenStorage::new(ADDRESS).unwrap_err();
        assert!(error.to_string().contains("crypto provider"), "{error}");
    }
}
