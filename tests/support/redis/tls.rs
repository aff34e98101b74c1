//! Certificates for servers that speak TLS. A test makes them, and they are gone when it ends.

use std::fmt;
use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const AUTHORITY: &str = "ca.pem";
const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";

/// The arguments for servers with these files in their folder.
pub(super) const ARGUMENTS: [&str; 12] = [
    "--tls-ca-cert-file",
    AUTHORITY,
    "--tls-cert-file",
    CERTIFICATE,
    "--tls-key-file",
    KEY,
    // Otherwise each client needs a certificate.
    "--tls-auth-clients",
    "no",
    // TLS among the servers.
    "--tls-replication",
    "yes",
    "--tls-cluster",
    "yes",
];

/// A certificate authority that only its test trusts. Each has a key of its own, and all have the same name.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, for servers and for clients.
#[derive(Clone)]
pub struct Identity {
    names: Vec<String>,
    certificate: String,
    key: String,
}

/// The TLS settings of servers, and of clients that connect to them.
#[derive(Clone)]
pub(super) struct Tls {
    authority: String,
    server: Identity,
    connector: TlsConnector,
}

impl Authority {
    /// Makes an authority.
    ///
    /// # Panics
    ///
    /// If there is no randomness for a key.
    pub fn new() -> Self {
        Self::made().unwrap_or_else(|error| panic!("no certificate authority: {error}"))
    }

    /// The certificate of the authority, for clients that trust it.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and addresses, such as `["127.0.0.1", "localhost"]`.
    ///
    /// # Panics
    ///
    /// If one of them is not a valid name or address.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issued(names).unwrap_or_else(|error| panic!("no certificate for {names:?}: {error}"))
    }

    fn made() -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "forge-tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    fn issued(&self, names: &[&str]) -> Result<Identity, rcgen::Error> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names.clone())?.signed_by(&key, &self.issuer)?;
        Ok(Identity { names, certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Identity {
    /// The certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The key of the certificate.
    pub fn key_pem(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Tls {
    /// For servers with the certificate of `server`. They trust the certificate that the fixtures connect
    /// with.
    pub(super) fn new(authority: &Authority, server: &Identity) -> io::Result<Self> {
        let asking = authority.issue(&["localhost"]);
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).map_err(io::Error::other);
        let key = PrivateKeyDer::from_pem_slice(asking.key.as_bytes()).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(der(&authority.pem())?).map_err(io::Error::other)?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(io::Error::other)?
                .with_root_certificates(roots)
                .with_client_auth_cert(vec![der(&asking.certificate)?], key)
                .map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { authority: authority.pem(), server: server.clone(), connector })
    }

    pub(super) fn files(&self) -> [(String, String); 3] {
        [(AUTHORITY, &self.authority), (CERTIFICATE, &self.server.certificate), (KEY, &self.server.key)]
            .map(|(name, content)| (name.to_owned(), content.clone()))
    }

    /// Under a name that the certificate has, because some certificates have a wrong one on purpose.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = self.server.names.first().cloned().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(io::Error::other)?;
        self.connector.connect(name, stream).await
    }
}
