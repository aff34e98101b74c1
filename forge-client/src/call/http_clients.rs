//! The `reqwest` clients of a client.

use std::sync::OnceLock;

use forge_core::{ConfigError, clamp_duration, is_loopback_host};
use reqwest::Client;
use reqwest::redirect::Policy;
use url::Url;

use crate::settings::Settings;

/// One `reqwest` client for this machine, which uses no proxy, and one for all other hosts. The first request
/// that needs the second of them builds it.
#[derive(Default)]
pub(super) struct HttpClients {
    direct: OnceLock<Client>,
    remote: OnceLock<Client>,
}

/// How requests get to a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    /// Without a proxy, whatever the settings and the environment say. A proxy would see credentials that
    /// otherwise stay on this machine, and would connect to its own loopback address instead of ours.
    Direct,
    AsConfigured,
}

impl HttpClients {
    /// The client for this URL; without a URL, the one for other hosts.
    ///
    /// # Errors
    ///
    /// This call has to build the client, and `reqwest` rejects the settings, or the TLS library could not be set
    /// up.
    pub(super) fn get(&self, url: Option<&Url>, settings: &Settings) -> Result<&Client, ConfigError> {
        let route = url.map_or(Route::AsConfigured, Route::to);
        let client = match route {
            Route::Direct => &self.direct,
            Route::AsConfigured => &self.remote,
        };
        match client.get() {
            Some(client) => Ok(client),
            // Race: two requests may both build a client here. `get_or_init` keeps one of them and drops the
            // other.
            None => build(settings, route).map(|built| client.get_or_init(|| built)),
        }
    }
}

impl Route {
    fn to(url: &Url) -> Self {
        if url.host_str().is_some_and(is_loopback_host) { Self::Direct } else { Self::AsConfigured }
    }
}

fn build(settings: &Settings, route: Route) -> Result<Client, ConfigError> {
    #[cfg(all(feature = "rustls-no-provider", not(any(feature = "rustls", feature = "native-tls"))))]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Without a provider `reqwest` panics.
        return Err(ConfigError::new("http", "a crypto provider of rustls that the program has installed"));
    }
    let mut builder = Client::builder()
        .connect_timeout(clamp_duration(settings.connect_timeout))
        .user_agent(concat!("requestforge/", env!("CARGO_PKG_VERSION")));
    if let Some(timeout) = settings.pool_idle_timeout {
        builder = builder.pool_idle_timeout(clamp_duration(timeout));
    }
    if let Some(connections) = settings.pool_max_idle_per_host {
        builder = builder.pool_max_idle_per_host(connections);
    }
    if let Some(configure) = &settings.configure_http {
        builder = configure(builder);
    }
    if route == Route::Direct {
        builder = builder.no_proxy();
    }
    builder
        .timeout(clamp_duration(settings.timeout))
        .redirect(Policy::none())
        .referer(false)
        // Without this bound `reqwest` copies each request for a retry that it never makes.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .build()
        .map_err(|error| ConfigError::new("http", "settings that reqwest accepts").with_source(error))
}
