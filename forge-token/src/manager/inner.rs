//! The state that the clones of one manager share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, CachingProvider, TokenData, TokenProvider,
    TokenRequirement, TokenStorage,
};

use super::clock::ManagerClock;
use super::failures::Failures;
use super::hook::RefreshTokenHook;
use super::refresh_history::RefreshHistory;
use super::renewal::{IssuedToken, RenewalResult};
use super::reports::Reports;
use super::single_flight::SingleFlight;
use super::slot::Slot;
use super::windows::Windows;
use crate::rt::{Deadline, Mutex};

pub(crate) struct Inner {
    pub(super) provider: Arc<dyn TokenProvider>,
    pub(super) storage: Option<Arc<dyn TokenStorage>>,
    /// Held while a flight stores and while an invalidation deletes, so that a token from before an invalidation does not
    /// get into the storage after it.
    pub(super) writing: tokio::sync::Mutex<()>,
    pub(super) key: String,
    pub(super) clock: ManagerClock,
    /// `None`: as long as the provider says.
    pub(super) fetch_timeout: Option<Duration>,
    pub(super) windows: Windows,
    pub(super) on_refresh_token: Option<RefreshTokenHook>,
    pub(super) refresh_when_contested: bool,
    /// `None`: the defaults.
    pub(super) max_retry_after: Option<Duration>,
    pub(super) refresh_history: Mutex<RefreshHistory>,
    /// The token of a flight that has not kept it yet. Crash: if the flight is
    /// lost with its runtime, the next flight takes the token from here.
    pub(super) unkept: Mutex<Option<Arc<IssuedToken>>>,
    pub(super) failures: Mutex<Failures>,
    pub(super) is_shut_down: AtomicBool,
    pub(super) slot: Slot,
    pub(super) single_flight: Arc<SingleFlight<RenewalResult>>,
    pub(super) reports: Reports,
}

const DEFAULT_FETCH_TIMEOUT: Duration = Duration::from_secs(30);

impl Inner {
    pub(super) fn no_runtime(&self) -> AuthenticationError {
        let error = self.error_without_cool_down(AuthenticationErrorKind::Configuration);
        error.with_message("call this from within a tokio runtime")
    }

    pub(super) fn error(&self, kind: AuthenticationErrorKind) -> AuthenticationError {
        AuthenticationError::new(self.provider.service_name(), kind)
    }

    /// A failure without a cool-down: the next caller may try at once. The error says zero and not `None`, because a
    /// manager over this one would otherwise begin a cool-down of its own.
    pub(super) fn error_without_cool_down(&self, kind: AuthenticationErrorKind) -> AuthenticationError {
        self.error(kind).with_cool_down(Duration::ZERO)
    }

    /// The error with the time that is left until the end of its cool-down, in monotonic milliseconds.
    pub(super) fn with_cool_down_until(&self, error: AuthenticationError, until: i64) -> AuthenticationError {
        let left = until.saturating_sub(self.clock.now().monotonic_millis());
        error.with_cool_down(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    pub(super) fn fetch_timeout(&self) -> Duration {
        let of_provider = || self.provider.caching().and_then(CachingProvider::max_fetch_duration);
        self.fetch_timeout.or_else(of_provider).unwrap_or(DEFAULT_FETCH_TIMEOUT)
    }

    /// How long a flight may take: the fetch, then the hook and up to three storage calls; see `renewal/keeping.rs`.
    pub(super) fn max_flight_duration(&self) -> Duration {
        let hook = self.on_refresh_token.as_ref().map_or(Duration::ZERO, RefreshTokenHook::timeout);
        let storage = self.storage.as_ref().map_or(Duration::ZERO, |_| self.storage_timeout() * 3);
        self.fetch_timeout().saturating_add(hook).saturating_add(storage)
    }

    /// A caller's deadline. A flight ends by its own time-outs, and callers give it a second more for its result.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.max_flight_duration().saturating_add(Duration::from_secs(1)))
    }

    /// Identifies this manager among those that exist.
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Calls the provider for a token by the full grant.
    pub(super) async fn fetch_from_provider(
        &self,
        requirement: TokenRequirement,
    ) -> Result<TokenData, AuthenticationError> {
        match self.provider.caching() {
            Some(caching) => caching.fetch_token_for(requirement).await,
            None => self.provider.fetch_token().await,
        }
    }

    pub(super) async fn forget_provider_token(&self) -> Result<(), AuthenticationError> {
        match self.provider.caching() {
            Some(caching) => caching.forget_token().await,
            None => Ok(()),
        }
    }
}
