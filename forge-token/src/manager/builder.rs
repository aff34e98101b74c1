use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use forge_core::{
    CacheKey, Clock, ConfigError, TokenData, TokenProvider, TokenStorage, check_positive, check_service_name,
};

use super::clock::ManagerClock;
use super::failures::Failures;
use super::hook::{self, Callback, RefreshTokenHook};
use super::refresh_history::RefreshHistory;
use super::reports::Reports;
use super::single_flight::SingleFlight;
use super::slot::{ChangeDetection, Slot};
use super::windows::Windows;
use super::{Inner, TokenManager};
use crate::rt::Mutex;

/// Settings of a [`TokenManager`].
///
/// | setting | default |
/// | --- | --- |
/// | [`storage`](Self::storage) | none: the token stays in this manager |
/// | [`cache_key`](Self::cache_key) | the provider's |
/// | [`fetch_timeout`](Self::fetch_timeout) | the [provider's](forge_core::CachingProvider::max_fetch_duration), else 30 s |
/// | [`advisory_window`](Self::advisory_window) | 300 s before expiry; for short lives, half of what the mandatory window leaves |
/// | [`mandatory_window`](Self::mandatory_window) | 30 s before expiry, at most half the lifetime |
/// | [`max_retry_after`](Self::max_retry_after) | 5 min without a valid token, up to an hour with one |
/// | [`on_refresh_token`](Self::on_refresh_token) | none |
/// | [`on_refresh_token_timeout`](Self::on_refresh_token_timeout) | 5 s |
/// | [`refresh_when_contested`](Self::refresh_when_contested) | no |
/// | [`clock`](Self::clock) | the machine's |
#[must_use]
pub struct TokenManagerBuilder {
    provider: Arc<dyn TokenProvider>,
    storage: Option<Arc<dyn TokenStorage>>,
    key: Option<String>,
    fetch_timeout: Option<Duration>,
    windows: Windows,
    max_retry_after: Option<Duration>,
    on_refresh_token: Option<Callback>,
    on_refresh_token_timeout: Duration,
    refresh_when_contested: bool,
    clock: ManagerClock,
}

impl TokenManagerBuilder {
    pub(super) fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self {
            provider,
            storage: None,
            key: None,
            fetch_timeout: None,
            windows: Windows { advisory: Duration::from_secs(300), mandatory: TokenData::EXPIRY_MARGIN },
            max_retry_after: None,
            on_refresh_token: None,
            on_refresh_token_timeout: hook::DEFAULT_TIMEOUT,
            refresh_when_contested: false,
            clock: ManagerClock::System,
        }
    }

    /// Also keeps the token in this storage, where other managers find it. Managers that share a storage and a key
    /// share one token. Default: none, the token stays in the manager.
    pub fn storage(mut self, storage: impl TokenStorage + 'static) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// The key of the token in the storage, for sharing the token with programs that use another key. Default: the
    /// provider's [`cache_key`](TokenProvider::cache_key).
    pub fn cache_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The time limit for getting a token: the provider's calls and the storage calls before them. Storing
    /// the new token and the [hook](Self::on_refresh_token) have limits of their own, so they cannot lose a
    /// token that was obtained in time. A caller waits at most for this limit plus one second, plus the
    /// time-out of the hook if there is one, plus three eighths of this limit (at most 6 s) if there is a
    /// storage.
    pub fn fetch_timeout(mut self, limit: Duration) -> Self {
        self.fetch_timeout = Some(limit);
        self
    }

    /// The time before the token's expiry in which a use of the token starts its renewal in the background, while
    /// callers still get the token. A token without a use is not renewed. Each manager shortens the window by up to a
    /// quarter at random, so that the processes of a fleet do not renew at the same moment. Default: 5 minutes.
    pub fn advisory_window(mut self, before_expiry: Duration) -> Self {
        self.windows.advisory = before_expiry;
        self
    }

    /// The time before the token's expiry in which the manager no longer hands the token out, so that callers wait for
    /// a new one. At most half the token's lifetime. Default: 30 s.
    pub fn mandatory_window(mut self, before_expiry: Duration) -> Self {
        self.windows.mandatory = before_expiry;
        self
    }

    /// The longest `Retry-After` of the token endpoint that the manager honours; it cuts a longer one down to
    /// this. Default: 5 minutes while no valid token is cached; otherwise as long as the cached token is
    /// valid, but at least 5 minutes and at most an hour.
    pub fn max_retry_after(mut self, limit: Duration) -> Self {
        self.max_retry_after = Some(limit);
        self
    }

    /// Calls this hook with each token that has a new refresh token, before callers get the token and before the manager
    /// stores it. Persist the new refresh token in the hook (RFC 6749 6): the server may refuse the old one from now on.
    /// The fetch continues when the hook's future completes. If the future panics or exceeds its
    /// [time-out](Self::on_refresh_token_timeout), the manager logs a warning and still caches and hands out
    /// the token.
    ///
    /// The hook must not ask its own manager for a token: that call would wait for the hook, so the manager
    /// returns an error at once.
    pub fn on_refresh_token<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(TokenData) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_refresh_token = Some(Box::new(move |token| Box::pin(hook(token))));
        self
    }

    /// How long the manager waits for the [hook](Self::on_refresh_token), in addition to
    /// [`fetch_timeout`](Self::fetch_timeout). Default: 5 s.
    pub fn on_refresh_token_timeout(mut self, limit: Duration) -> Self {
        self.on_refresh_token_timeout = limit;
        self
    }

    /// Whether the manager sends a refresh token that another process may have sent: the refresh token has the mark of
    /// another process, or the manager could not get a lease, because the storage is down or another process does not
    /// give the lease back. Default: no. The manager then uses the full grant; if that fails,
    /// [`is_refresh`](forge_core::AuthenticationError::is_refresh) of the error is true.
    ///
    /// A server that rotates refresh tokens may take the second use of one for theft, and revoke all tokens of that login
    /// (RFC 9700 4.14.2). Set this to `true` only if the provider has no full grant, and either the server does not
    /// rotate or a lock-out is no worse than having no token. Without a storage, or with a storage without leases, the
    /// setting has no effect.
    pub fn refresh_when_contested(mut self, refresh: bool) -> Self {
        self.refresh_when_contested = refresh;
        self
    }

    /// The clock by which tokens expire. Give the same one to the provider and to the storage.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = ManagerClock::Custom(clock);
        self
    }

    /// The manager. It fetches nothing before a caller needs a token.
    ///
    /// # Errors
    ///
    /// The storage rejects the cache key; the provider derives the key from a service name that contains a `:`;
    /// or a time-out is zero.
    pub fn build(self) -> Result<TokenManager, ConfigError> {
        self.check_service_name()?;
        self.fetch_timeout.map_or(Ok(()), |limit| check_positive("fetch_timeout", limit))?;
        check_positive("on_refresh_token_timeout", self.on_refresh_token_timeout)?;
        if let Some(storage) = &self.storage {
            storage.check_key(&self.key())?;
        }
        Ok(self.assemble())
    }

    /// The name of a service that is a word of the key, and not the user's own key.
    fn check_service_name(&self) -> Result<(), ConfigError> {
        let service_name = self.provider.service_name();
        let named = format!("{}:{service_name}", CacheKey::FIRST_SEGMENT);
        if self.key.is_none() && self.provider.cache_key().starts_with(&named) {
            return check_service_name("service_name", service_name);
        }
        Ok(())
    }

    fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| self.provider.cache_key())
    }

    /// The manager of settings that were checked, or need not be.
    pub(super) fn assemble(self) -> TokenManager {
        let key = self.key();
        let change_detection = match &self.storage {
            None => ChangeDetection::NotNeeded,
            Some(storage) => storage.generation(&key).map_or(ChangeDetection::None, ChangeDetection::Counted),
        };
        TokenManager(Arc::new(Inner {
            provider: self.provider,
            storage: self.storage,
            writing: tokio::sync::Mutex::new(()),
            key,
            clock: self.clock,
            fetch_timeout: self.fetch_timeout,
            windows: self.windows,
            on_refresh_token: self
                .on_refresh_token
                .map(|callback| RefreshTokenHook::new(callback, self.on_refresh_token_timeout)),
            max_retry_after: self.max_retry_after,
            refresh_history: Mutex::new(RefreshHistory::default()),
            unkept: Mutex::new(None),
            refresh_when_contested: self.refresh_when_contested,
            failures: Mutex::new(Failures::default()),
            is_shut_down: AtomicBool::new(false),
            slot: Slot::new(change_detection),
            single_flight: Arc::new(SingleFlight::new()),
            reports: Reports::default(),
        }))
    }
}

impl fmt::Debug for TokenManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenManagerBuilder")
            .field("service_name", &self.provider.service_name())
            .field("storage", &self.storage)
            .field("fetch_timeout", &self.fetch_timeout)
            .finish_non_exhaustive()
    }
}
