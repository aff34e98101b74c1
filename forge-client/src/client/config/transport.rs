//! Connections, time-outs and redirects.

use std::sync::Arc;
use std::time::Duration;

use forge_core::check_positive;
use reqwest::ClientBuilder;

use super::HttpClientConfigBuilder;

impl<T> HttpClientConfigBuilder<T> {
    /// How long each attempt may take, with the reading of its body. Must be more than zero. Default: 30 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.check_timeout("timeout", timeout);
        self.settings.timeout = timeout;
        self
    }

    /// How long a whole call may take: the waits for tokens, all attempts, back-offs and redirects, and the
    /// reading of the body. Must be more than zero. The client begins no back-off that would leave no time: the
    /// caller gets the last outcome. Default: no limit.
    pub fn with_total_timeout(mut self, timeout: Duration) -> Self {
        self.check_timeout("total_timeout", timeout);
        self.settings.total_timeout = Some(timeout);
        self
    }

    /// How long connecting may take. Must be more than zero. Default: 10 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.check_timeout("connect_timeout", timeout);
        self.settings.connect_timeout = timeout;
        self
    }

    /// Whether the client follows redirects. Default: yes. If not, the caller gets the redirect as a response.
    pub fn with_redirects(self, follow: bool) -> Self {
        let limit = self.settings.max_redirects.unwrap_or(10);
        self.redirects(follow.then_some(limit))
    }

    /// How many redirects a call follows at most; one more is an error. Default: 10.
    #[doc(alias = "max_redirects")]
    pub fn with_max_redirects(self, limit: u32) -> Self {
        self.redirects(Some(limit))
    }

    /// How long the client keeps an unused connection; zero: no request reuses one. Default: 90 s.
    pub fn with_pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.settings.pool_idle_timeout = Some(timeout);
        self
    }

    /// How many unused connections the client keeps for each host. This does not limit the connections in use.
    /// Default: any number.
    #[doc(alias = "with_pool_maxsize")]
    #[doc(alias = "with_pool_connection")]
    pub fn with_pool_max_idle_per_host(mut self, connections: usize) -> Self {
        self.settings.pool_max_idle_per_host = Some(connections);
        self
    }

    /// The maximum length in bytes of a body that [`bytes`], [`text`] and [`json`] keep in memory. A longer
    /// body is an error. There is no limit for bodies that the caller reads piece by piece. Default: 64 MiB.
    ///
    /// [`bytes`]: crate::HttpResponse::bytes
    /// [`text`]: crate::HttpResponse::text
    /// [`json`]: crate::HttpResponse::json
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.settings.max_body = bytes;
        self
    }

    /// Any setting of the `reqwest` clients underneath: certificates, proxies, pools. There are up to two of
    /// them, and the client calls the closure for each. One calls this machine (`localhost`, 127.0.0.0/8,
    /// `[::1]`), always without a proxy. The other one calls all other hosts. Of several closures only the last
    /// counts. The time-out is [`with_timeout`](Self::with_timeout)'s. Redirects, retries and referer stay off
    /// there: this client follows redirects itself, and sends no referer. Default headers set there go to every
    /// origin, and nothing checks them.
    #[doc(alias = "with_verify_ssl")]
    pub fn with_http(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.settings.configure_http = Some(Arc::new(configure));
        self
    }

    fn check_timeout(&mut self, field: &'static str, timeout: Duration) {
        if let Err(error) = check_positive(field, timeout) {
            self.record_error(error);
        }
    }

    fn redirects(mut self, limit: Option<u32>) -> Self {
        self.settings.max_redirects = limit;
        self
    }
}
