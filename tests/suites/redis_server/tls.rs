//! Servers that speak nothing but TLS.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use forge_tests::{Authority, Identity, RedisCluster, RedisNode, RedisSentinel, RedisServer};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::ask;

/// The authority that the client trusts, and the certificate that it shows.
struct Client<'a> {
    trusts: &'a Authority,
    shows: Option<&'a Identity>,
}

impl Client<'_> {
    async fn ask(&self, port: u16, command: &str) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.trusts.pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match self.shows {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::from_pem_slice(identity.certificate_pem().as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(identity.key_pem().as_bytes()).unwrap();
                config.with_client_auth_cert(vec![chain], key).unwrap()
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let name = "127.0.0.1".try_into().unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(format!("{command}\r\n").as_bytes()).await?;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

#[tokio::test]
async fn a_server_speaks_nothing_but_tls() {
    let authority = Authority::new();
    let start = Instant::now();
    let mut server =
        RedisServer::start_tls(&authority, &authority.issue(&["127.0.0.1", "localhost"]), &[]).await;
    println!("{server:?} started in {:?}", start.elapsed());
    let port = server.port();
    assert_eq!(server.url(), format!("rediss://127.0.0.1:{port}"));
    let client = Client { trusts: &authority, shows: None };
    assert_eq!(client.ask(port, "PING").await.unwrap(), "+PONG\r\n");

    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let answer = ask(&mut plain, "PING").await.unwrap_or_default();
    assert!(!answer.contains("PONG"), "{answer}");
    let another = Client { trusts: &Authority::new(), shows: None };
    let error = another.ask(port, "PING").await.unwrap_err();
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");

    server.stop().await;
    server.start_again().await;
    assert_eq!(client.ask(port, "PING").await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn a_server_may_have_a_wrong_name() {
    let authority = Authority::new();
    let server = RedisServer::start_tls(&authority, &authority.issue(&["redis.example"]), &[]).await;
    let error = Client { trusts: &authority, shows: None }.ask(server.port(), "PING").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_server_may_want_a_certificate() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let server = RedisServer::start_tls(&authority, &identity, &["--tls-auth-clients", "yes"]).await;
    let known = authority.issue(&["client"]);
    let client = Client { trusts: &authority, shows: Some(&known) };
    assert_eq!(client.ask(server.port(), "PING").await.unwrap(), "+PONG\r\n");

    let unknown = Authority::new().issue(&["client"]);
    for shows in [None, Some(&unknown)] {
        let client = Client { trusts: &authority, shows };
        assert!(client.ask(server.port(), "PING").await.is_err(), "{shows:?}");
    }
}

#[tokio::test]
async fn a_cluster_may_speak_tls() {
    let authority = Authority::new();
    let cluster = RedisCluster::start_tls(&authority, &authority.issue(&["127.0.0.1"]), &[]).await;
    let client = Client { trusts: &authority, shows: None };
    let master = cluster.master_of("a").await;
    assert_eq!(master.url(), format!("rediss://127.0.0.1:{}", master.port()));
    assert_eq!(client.ask(master.port(), "SET a value").await.unwrap(), "+OK\r\n");
    let to = cluster.move_slot("a").await;
    assert_eq!(client.ask(to.port(), "GET a").await.unwrap(), "$5\r\nvalue\r\n");
    let moved = format!("-MOVED 15495 127.0.0.1:{}\r\n", to.port());
    assert_eq!(client.ask(master.port(), "GET a").await.unwrap(), moved);
}

#[tokio::test]
async fn sentinels_may_speak_tls() {
    let authority = Authority::new();
    let redis = RedisSentinel::start_tls(&authority, &authority.issue(&["127.0.0.1"])).await;
    let client = Client { trusts: &authority, shows: None };
    let old = redis.pause_master().await;
    let new = redis.failed_over().await;
    assert_ne!(new, old);
    assert_eq!(client.ask(new.port(), "SET key value").await.unwrap(), "+OK\r\n");
    let name = redis.master_name();
    for port in redis.sentinels().iter().map(RedisNode::port) {
        let told = client.ask(port, &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {name}")).await.unwrap();
        assert!(told.contains(&new.port().to_string()), "{told}");
    }
}
