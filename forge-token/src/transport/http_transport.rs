use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use forge_core::{AuthenticationError, AuthenticationErrorKind, ConfigError, async_trait, check_header_name};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response};
use zeroize::Zeroizing;

use super::clients::Clients;
use super::{TokenConnection, TokenEndpoint, TokenRequest, TokenResponse, TokenTransport, failure};

/// Calls token endpoints with `reqwest`.
///
/// A call takes at most 10 s, 5 s of them for connecting, and reads at most 1 MiB of the response. The transport follows no
/// redirect and repeats no call. Clones share their connections. A request that asks for a [new
/// connection](TokenConnection::New) gets one with the same settings. The transport pools connections for each tokio
/// runtime, for at most four runtimes at a time. A call from any other runtime opens a new connection.
#[derive(Clone)]
pub struct HttpTransport(Arc<Pools>);

struct Pools {
    configure: Box<dyn Fn(ClientBuilder) -> ClientBuilder + Send + Sync>,
    /// For endpoints on this machine: without a proxy, even if the settings or the environment name one.
    direct: Clients,
    /// For all other endpoints.
    remote: Clients,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum length of a response in bytes, after decompression.
const MAX_RESPONSE_LEN: usize = 1024 * 1024;

impl HttpTransport {
    /// The transport with default settings. The whole process shares one.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: LazyLock<HttpTransport> = LazyLock::new(|| HttpTransport::with(|builder| builder));
        SHARED.clone()
    }

    /// A transport with its own connections and your settings: a proxy, certificates, a client identity, time-outs. Your
    /// settings cannot turn on redirects, retries or the `Referer` header, and calls to this machine never use a proxy.
    ///
    /// ```
    /// use std::time::Duration;
    /// use requestforge::ClientCredentialsTokenProvider;
    /// use requestforge::oauth2::HttpTransport;
    ///
    /// let patient = HttpTransport::with(|http| http.timeout(Duration::from_secs(20)));
    /// let provider = ClientCredentialsTokenProvider::builder("https://auth.example.com/token", "id", "secret")
    ///     .transport(patient.clone())
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
    /// ```
    pub fn with(configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static) -> Self {
        Self(Arc::new(Pools {
            configure: Box::new(configure),
            direct: Clients::default(),
            remote: Clients::default(),
        }))
    }

    /// Builds the HTTP client for this endpoint, so that this call reports invalid settings, and not the first token call.
    ///
    /// # Errors
    ///
    /// `reqwest` does not accept the settings, or the TLS library could not be set up.
    pub fn prepare(&self, endpoint: &TokenEndpoint) -> Result<(), ConfigError> {
        self.clients(endpoint).prepare(|| self.build(endpoint, TokenConnection::Any))
    }

    fn clients(&self, endpoint: &TokenEndpoint) -> &Clients {
        if endpoint.is_loopback() { &self.0.direct } else { &self.0.remote }
    }

    fn build(&self, endpoint: &TokenEndpoint, connection: TokenConnection) -> Result<Client, ConfigError> {
        #[cfg(all(feature = "rustls-no-provider", not(any(feature = "rustls", feature = "native-tls"))))]
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Without this check `reqwest` would panic.
            return Err(ConfigError::new("http", "a crypto provider of rustls, installed by the program"));
        }
        let defaults = Client::builder()
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("requestforge/", env!("CARGO_PKG_VERSION")));
        let mut builder = (self.0.configure)(defaults)
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never());
        if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        if connection == TokenConnection::New {
            builder = builder.pool_max_idle_per_host(0);
        }
        builder
            .build()
            .map_err(|error| ConfigError::new("http", "settings that reqwest accepts").with_source(error))
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpTransport")
    }
}

#[async_trait]
impl TokenTransport for HttpTransport {
    async fn call(&self, request: TokenRequest) -> Result<TokenResponse, AuthenticationError> {
        let refused = |error: ConfigError| {
            AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_source(error)
        };
        let mut names = request.headers.keys();
        names.try_for_each(|name| check_header_name("headers", name)).map_err(refused)?;
        let clients = self.clients(&request.endpoint);
        let client =
            clients.client(request.connection, |connection| self.build(&request.endpoint, connection));
        let client = client.map_err(refused)?;
        let mut call = client
            .request(request.method, request.endpoint.url().clone())
            .headers(request.headers)
            .body(request.body);
        if let Some(limit) = request.timeout {
            call = call.timeout(limit);
        }
        let mut response = call.send().await.map_err(|error| failure::without_head(&error))?;
        let body = match read_bounded(&mut response).await {
            // The status and `Retry-After` have arrived, and are more useful than the error of a body that breaks off.
            Err(_) if !response.status().is_success() => Bytes::new(),
            body => body?,
        };
        Ok(TokenResponse { status: response.status(), headers: std::mem::take(response.headers_mut()), body })
    }

    fn prepare(&self, endpoint: &TokenEndpoint) -> Result<(), ConfigError> {
        self.prepare(endpoint)
    }
}

/// Reads the body, and counts its bytes after decompression. Attack: the length that a server states may be false.
async fn read_bounded(response: &mut Response) -> Result<Bytes, AuthenticationError> {
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| failure::within_body(&error))? {
        if body.len() + chunk.len() > MAX_RESPONSE_LEN {
            return Err(AuthenticationError::new("", AuthenticationErrorKind::InvalidResponse)
                .with_message("the response is larger than 1 MiB"));
        }
        body.extend_from_slice(&chunk);
    }
    // The buffer has grown by doubling, so up to half of it is unused. Parsing needs that memory.
    body.shrink_to_fit();
    Ok(Bytes::from_owner(body))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

    use super::*;

    #[tokio::test]
    async fn a_header_that_follows_from_the_body_is_refused_before_anything_is_sent() {
        // No server listens on this port. If the transport sent the request, that would be another error.
        let endpoint = TokenEndpoint::new("http://127.0.0.1:1/token").unwrap();
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
            let mut request = TokenRequest::post(endpoint.clone(), Bytes::from_static(b"a=b"));
            request.headers.insert(name, HeaderValue::from_static("1"));
            let error = HttpTransport::shared().call(request).await.unwrap_err();
            assert_eq!(error.kind(), &AuthenticationErrorKind::Configuration);
        }
    }
}
