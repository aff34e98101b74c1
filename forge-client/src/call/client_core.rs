use forge_core::ConfigError;
use reqwest::Client;
use url::Url;

use super::http_clients::HttpClients;
use crate::retry::RetryPolicy;
use crate::settings::Settings;

/// The settings, the `reqwest` clients and the retry budget of an [`HttpClient`](crate::HttpClient). All clones and
/// all calls of the client share them.
pub(crate) struct ClientCore {
    pub(crate) settings: Settings,
    http: HttpClients,
    pub(crate) retries: Option<RetryPolicy>,
}

impl ClientCore {
    /// # Errors
    ///
    /// `reqwest` rejects the settings, or the TLS library could not be set up.
    pub(crate) fn new(settings: Settings) -> Result<Self, ConfigError> {
        let http = HttpClients::default();
        // Builds the `reqwest` client that the first request most likely needs, so that mistakes show at once.
        http.get(settings.base_url.url(), &settings)?;
        let strategy = settings.retry_strategy.clone();
        let retries = strategy.map(|strategy| RetryPolicy::new(strategy, settings.wait_limits));
        Ok(Self { settings, http, retries })
    }

    /// The `reqwest` client for this URL.
    ///
    /// # Errors
    ///
    /// This call has to build the client, and `reqwest` rejects the settings.
    pub(crate) fn http_for(&self, url: &Url) -> Result<&Client, ConfigError> {
        self.http.get(Some(url), &self.settings)
    }
}
