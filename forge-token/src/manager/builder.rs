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

    /// Where the token is kept besides, to be found by other managers. Managers that share a
    /// storage and a key share one token.
    pub fn storage(mut self, storage: impl TokenStorage + 'static) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// The key in the storage, instead of the one made from all that makes the provider's token
    /// different. For sharing a token with programs that use another key.
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

    /// From how long before its expiry on a token is renewed in the background, while callers go on
    /// with it. Begins up to a quarter later, at random, so that a fleet does not renew as one. The
    /// next use of the token starts the renewal: a token that is not used is not renewed.
    pub fn advisory_window(mut self, before_expiry: Duration) -> Self {
        self.windows.advisory = before_expiry;
        self
    }

    /// From how long before its expiry on a token is not handed out any more: callers wait for a new
    /// one. Never more than half the token's lifetime.
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

    /// Called with each token that has a new refresh token, before callers get it and before the manager stores it: for
    /// persisting the rotation (RFC 6749 6), since the server may refuse the old one from
    /// now on. The fetch goes on when the hook's future completes. If the future panics or exceeds its
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

    /// Whether a refresh token is sent although another process may have sent it: it bears the mark of
    /// another process, or the storage can give no lease, because it is down or the lease is not given
    /// back. Default: no; the full grant is used instead, and where that fails the error says so
    /// ([`is_refresh`](forge_core::AuthenticationError::is_refresh)).
    ///
    /// A server that rotates refresh tokens may take the second use of one for theft, and revoke all
    /// tokens that came of it (RFC 9700 4.14.2). Say yes where there is no full grant to fall back to,
    /// and the server does not rotate, or being locked out is no worse. Without a storage, and over one
    /// without leases, no refresh token is contested.
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
