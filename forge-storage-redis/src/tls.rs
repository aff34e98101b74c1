//! TLS, if a feature enables it. This crate sets TLS up itself, because the redis crate reads the system's certificates for
//! each connection, even if others are configured, and reports invalid ones only at the first connection.

use std::fmt;
use std::io;
use std::sync::Arc;

use forge_core::{ConfigError, StorageError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, ConfigBuilder, Error, RootCertStore};
use rustls::{WantsVerifier, client::WantsClientCert};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

/// The trusted authorities and the client certificate.
#[derive(Default)]
pub(crate) struct Certificates {
    pub(crate) roots: Option<Vec<u8>>,
    /// The client certificate: chain and key.
    pub(crate) client: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

/// A TLS connector.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Certificates {
    pub(crate) fn are_given(&self) -> bool {
        self.roots.is_some() || self.client.is_some()
    }
}

impl Tls {
    /// A connector with these certificates.
    ///
    /// # Errors
    ///
    /// A certificate or key is invalid, or the process has no crypto provider.
    pub(crate) fn new(certificates: &Certificates) -> Result<Self, ConfigError> {
        #[cfg(feature = "rustls")]
        install_provider();
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let expected = "a crypto provider of rustls, installed by the program before this";
            return Err(ConfigError::new("tls", expected));
        }
        let trusting = trust(ClientConfig::builder(), certificates.roots.as_deref())?;
        let config = match &certificates.client {
            None => trusting.with_no_client_auth(),
            Some((chain, key)) => identify(trusting, chain, key)?,
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or the handshake fails, for example because the certificate is not trusted.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TlsStream<TcpStream>, StorageError> {
        let failed = |error: io::Error| {
            let cause =
                handshake_failure(&error).unwrap_or_else(|| crate::system_error::system_error_text(&error));
            StorageError::new(format!("cannot connect to Redis: {cause}"))
        };
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            StorageError::new("cannot connect to Redis: this host name cannot have a certificate")
        })?;
        let stream = TcpStream::connect((host, port)).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        self.0.connect(name, stream).await.map_err(failed)
    }
}

fn trust(
    config: ConfigBuilder<ClientConfig, WantsVerifier>,
    roots: Option<&[u8]>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, ConfigError> {
    let field = "root_certificates";
    let Some(roots) = roots else {
        return config.with_platform_verifier().map_err(|error| {
            ConfigError::new(field, "certificates, since the system has none").with_source(error)
        });
    };
    let refused = || ConfigError::new(field, "one or more certificates in PEM format");
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots) {
        store.add(root.map_err(|_| refused())?).map_err(|_| refused())?;
    }
    if store.is_empty() { Err(refused()) } else { Ok(config.with_root_certificates(store)) }
}

fn identify(
    config: ConfigBuilder<ClientConfig, WantsClientCert>,
    chain: &[u8],
    key: &[u8],
) -> Result<ClientConfig, ConfigError> {
    // The library's error may quote the invalid text, which may be a key.
    let refused = |expected: &str| ConfigError::new("client_certificate", expected);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| refused("one or more certificates in PEM format"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| refused("a private key in PEM format"))?;
    config.with_client_auth_cert(chain, key).map_err(|_| refused("the private key of this certificate"))
}

#[cfg(feature = "rustls")]
fn install_provider() {
    use rustls::crypto::{CryptoProvider, aws_lc_rs};

    if CryptoProvider::get_default().is_none() {
        // Race: another thread may have installed a provider meanwhile. Any provider is fine.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// The reason why a TLS handshake failed, if this error has one.
pub(crate) fn handshake_failure(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        // rustls reports a bad signature instead of an unknown issuer if two authorities have the same name.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate is not signed by a trusted authority".to_owned()
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
        ) => "the server rejects the client certificate".to_owned(),
        Error::InvalidCertificate(CertificateError::Other(_)) => {
            "the server's certificate is not valid for a server; it may be that of an authority".to_owned()
        }
        error => format!("TLS: {error}"),
    })
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "rustls")]
    use super::*;
    use crate::RedisTokenStorage;

    #[cfg(feature = "rustls")]
    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let refused = |certificates: Certificates| Tls::new(&certificates).unwrap_err().to_string();
        for roots in [&b""[..], b"canary", b"-----BEGIN CERTIFICATE-----\ncanary"] {
            let told = refused(Certificates { roots: Some(roots.to_vec()), client: None });
            assert!(told.contains("root_certificates") && !told.contains("canary"), "{told}");
        }
        for chain in [&b""[..], b"canary", b"-----BEGIN PRIVATE KEY-----\ncanary"] {
            let key = b"-----BEGIN PRIVATE KEY-----\ncanary".to_vec().into();
            let told = refused(Certificates { roots: None, client: Some((chain.to_vec(), key)) });
            assert!(told.contains("client_certificate") && !told.contains("canary"), "{told}");
        }
    }

    #[test]
    fn certificates_are_for_addresses_with_tls() {
        let one = RedisTokenStorage::builder("redis://127.0.0.1:1").root_certificates("canary").build();
        assert!(one.unwrap_err().to_string().contains("rediss://"));
        let cluster = RedisTokenStorage::cluster(["redis://127.0.0.1:1"]).root_certificates("canary").build();
        assert_eq!(cluster.unwrap_err().field(), "nodes");
        for url in ["rediss://127.0.0.1:1#insecure", "rediss://127.0.0.1:1/0#insecure"] {
            let insecure = RedisTokenStorage::new(url).unwrap_err();
            assert!(insecure.to_string().contains("#insecure"), "{insecure}");
        }
    }

    #[cfg(feature = "rustls")]
    #[tokio::test]
    async fn a_crypto_provider_is_installed_where_there_is_none() {
        use forge_core::TokenStorage;

        let storage = RedisTokenStorage::new("rediss://127.0.0.1:1").unwrap();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
        let error = storage.get("k").await.unwrap_err();
        assert!(error.to_string().contains("connection refused"), "{error}");
    }

    #[cfg(not(feature = "rustls"))]
    #[test]
    fn a_crypto_provider_that_is_missing_is_asked_for() {
        let error = RedisTokenStorage::new("rediss://127.0.0.1:1").unwrap_err();
        assert!(error.to_string().contains("crypto provider"), "{error}");
    }
}
