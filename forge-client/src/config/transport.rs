//! Settings of connections, and of how they are used.

use std::sync::Arc;
use std::time::Duration;

use reqwest::ClientBuilder;

use super::HttpClientConfigBuilder;

impl<T> HttpClientConfigBuilder<T> {
    /// How long each attempt may take, reading its body included. Default: 30 s.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How long connecting may take. Default: 10 s.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Whether redirects are followed. Default: yes. Where not, they go to the caller as they came.
    pub fn with_redirects(self, follow: bool) -> Self {
        let limit = self.settings.max_redirects.unwrap_or(10);
        self.redirects(follow.then_some(limit))
    }

    /// How many redirects a call follows at most; one more is an error. Default: 10.
    pub fn with_max_redirects(self, limit: u32) -> Self {
        self.redirects(Some(limit))
    }

    /// Any setting of the `reqwest` client underneath: certificates, proxies, pools. Called once per
    /// client; the last such setting counts. Redirects, retries and referer stay off there: this client
    /// does the first itself, and none of the others. Default headers set there go to every origin.
    pub fn with_http(
        mut self,
        configure: impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static,
    ) -> Self {
        self.settings.configure_http = Some(Arc::new(configure));
        self
    }

    fn redirects(mut self, limit: Option<u32>) -> Self {
        self.settings.max_redirects = limit;
        self
    }
}
