use std::net::SocketAddr;
use std::sync::Arc;

use requestforge::reqwest::Certificate;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Speaks TLS on `https://localhost`, with a new certificate, and forwards the plain text to another server.
pub(crate) struct TlsFront {
    port: u16,
    certificate: Vec<u8>,
    server: tokio::task::JoinHandle<()>,
}

impl TlsFront {
    pub(crate) async fn before(plain: SocketAddr) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a certificate that fits its key");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut encrypted) = acceptor.accept(stream).await else { return };
                    let Ok(mut plain) = TcpStream::connect(plain).await else { return };
                    // Either side may hang up when it likes.
                    let _ = tokio::io::copy_bidirectional(&mut encrypted, &mut plain).await;
                });
            }
        });
        Self { port, certificate: certificate.to_vec(), server }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der(&self.certificate).expect("a certificate")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}
