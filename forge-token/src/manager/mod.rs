//! The manager: a slot that answers hits, and renewals that fill it.
//!
//! Read on in this order: `get_token.rs` and `slot.rs` (a hit), `caller.rs` and `single_flight.rs` (a miss), `renewal/`
//! (how a new token is obtained), `inner.rs` (the state that all of them share).

mod builder;
mod caller;
mod catch_panic;
mod clock;
mod cool_down;
mod dependency;
mod entry;
mod failures;
mod get_token;
mod goal;
mod hook;
mod inner;
mod lookup;
mod provenance;
mod refresh_history;
mod rejections;
mod renewal;
mod reports;
mod single_flight;
mod slot;
mod status;
mod windows;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ClockReading, Credential, TokenData, TokenProvider,
    TokenRequirement, TokenSource, async_trait,
};

pub use builder::TokenManagerBuilder;
pub use dependency::TokenDependency;
pub use provenance::TokenProvenance;
pub use status::TokenStatus;

use crate::rt::{self, Deadline};
use failures::INITIAL_COOL_DOWN;
use get_token::GetToken;
use goal::RenewalGoal;
use inner::Inner;
use slot::{Claim, Entry};

/// Has a valid token ready for its callers. When there is none, the manager fetches one, once for all callers that
/// wait. A manager is cheap to clone, and its clones share everything.
///
/// A hit takes no lock and no allocation. A miss starts a *flight*: a task that reads the storage, refreshes or
/// fetches, stores, and passes the result to all waiting callers. If callers go away, the flight goes on. A flight needs
/// a tokio runtime with time enabled. One manager may serve several runtimes.
///
/// The first use of a token within its [advisory window](TokenManagerBuilder::advisory_window) starts a renewal in the
/// background. If the renewal fails, the token stays in use. Callers wait only when no valid token is cached. After a
/// failure the manager fetches nothing for a while, and callers without a token get the error at once:
///
/// | failure (see [`AuthenticationError::is_transient`]) | cool-down |
/// | --- | --- |
/// | transient, or neither transient nor permanent | 250 ms, doubling up to 60 s |
/// | with `Retry-After` | as asked for, if that is longer; at most [`max_retry_after`](TokenManagerBuilder::max_retry_after) |
/// | permanent | 10 s, doubling up to 60 s; none if the provider's secret has changed meanwhile |
/// | a provider that panicked or took longer than the fetch time-out; a secret that cannot be read | none |
/// | a provider that failed because another manager did | that manager's |
///
/// The manager shortens a cool-down by up to half at random, but never below the time that `Retry-After` asks for.
/// While a valid token is cached, a cool-down lasts no longer than that token can be used, unless `Retry-After`
/// asks for more. A success ends the cool-down, and [`force_refresh`](Self::force_refresh) ignores it.
///
/// When a call with a refresh token fails, the manager concludes from the error whether the refresh token
/// still works. A *full grant* is a token call without a refresh token, by client credentials for example; a
/// provider for a person's login [has none](TokenProvider::has_full_grant).
///
/// | refresh token | when | with a full grant, while a valid token is cached | else |
/// | --- | --- | --- | --- |
/// | dead | `invalid_grant` or another code with that meaning, with a 2xx or a 4xx other than 408, 425 and 429 | full grant | full grant; without one the error [needs a login](AuthenticationError::needs_login) |
/// | refused for another reason | any other 4xx but 408, 425 and 429 | full grant | full grant; without one the manager sends the refresh token again after the cool-down |
/// | unused | nothing was sent; 408, 425, 429, 503, whatever the body says | the cached token stays in use | full grant, but after `Retry-After` only in the next attempt; without one the manager sends the refresh token again after the cool-down |
/// | in doubt: the server may have replaced it | any other 5xx, a redirect, a success without a token, a cut connection, a time-out, a crash | the cached token stays in use | full grant, but after `Retry-After` only in the next attempt; the refresh token is not sent again. Without a full grant, or where that is refused, the manager sends it once more; from the second failure on the error needs a login |
///
/// ```no_run
/// # async fn run(provider: requestforge::ClientCredentialsTokenProvider) -> Result<(), requestforge::AuthenticationError> {
/// use requestforge::TokenManager;
///
/// let manager = TokenManager::new(provider);
/// let token = manager.get_token().await?; // fetched
/// let again = manager.get_token().await?; // the same one
/// assert_eq!(token.access_token(), again.access_token());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TokenManager(Arc<Inner>);

type TokenResult = Result<(Arc<Credential>, TokenProvenance), AuthenticationError>;

impl TokenManager {
    /// A manager that keeps its token in the process.
    pub fn new(provider: impl TokenProvider + 'static) -> Self {
        Self::builder(provider).assemble()
    }

    /// Settings for a manager.
    pub fn builder(provider: impl TokenProvider + 'static) -> TokenManagerBuilder {
        TokenManagerBuilder::new(Arc::new(provider))
    }

    /// The key under which a storage keeps this manager's token.
    #[must_use]
    pub fn cache_key(&self) -> &str {
        &self.0.key
    }

    /// The cached token, if it may be used now. Takes no lock and never waits.
    ///
    /// Always `None` with a storage that announces no changes: [`get_token`](Self::get_token) asks such a storage each
    /// time.
    #[must_use]
    pub fn cached(&self) -> Option<Arc<Credential>> {
        self.look(|entry| Arc::clone(entry.credential()))
    }

    /// Passes the cached token to a closure: as [`cached`](Self::cached), and cheaper if many threads ask at once.
    pub fn with_token<R>(&self, look: impl FnOnce(&TokenData) -> R) -> Option<R> {
        self.look(|entry| look(entry.credential().token()))
    }

    #[inline]
    fn look<R>(&self, look: impl FnOnce(&Entry) -> R) -> Option<R> {
        let now = self.0.clock.now();
        let hit = self.0.slot.hit(now, |entry| self.schedule_upkeep(entry, now))?;
        hit.as_deref().map(look)
    }

    /// Starts the upkeep that is due: the renewal of a token in its advisory window, or the comparison of a
    /// cached token with the storage's.
    #[cold]
    fn schedule_upkeep(&self, entry: &Entry, now: ClockReading) {
        let again_after = || i64::try_from(self.0.fetch_timeout().as_millis()).unwrap_or(i64::MAX);
        if let Some(claim) = entry.claim_renewal(now, again_after) {
            self.start_background_renewal(
                RenewalGoal::Obtain(TokenRequirement::NewerThan(entry.credential().id())),
                claim,
            );
        } else if let Some(claim) = entry.claim_recheck(now) {
            self.start_background_renewal(RenewalGoal::Recheck, claim);
        }
    }

    fn start_background_renewal(&self, goal: RenewalGoal, claim: Claim<'_>) {
        if self.0.is_shut_down.load(Ordering::Relaxed) {
            return;
        }
        // No caller waits for the result. Without a runtime there is no background renewal, and callers wait in the
        // mandatory window.
        let waiter = self.0.single_flight.join(goal, self.0.max_flight_duration(), |publisher| {
            rt::spawn(renewal::run_renewal(Arc::clone(&self.0), goal, publisher))
        });
        if waiter.is_ok_and(|waiter| !waiter.is_first()) {
            // A flight for another goal is under way. If it brings no new token, this renewal is due after it.
            claim.give_back();
        }
    }

    /// A valid token: the cached one, else the storage's, else a new one. Concurrent callers share one fetch.
    ///
    /// # Errors
    ///
    /// The manager could not get a token within the [fetch time-out](TokenManagerBuilder::fetch_timeout). All callers
    /// that waited for the same fetch get the same error. The next caller starts a new fetch, after the cool-down.
    #[inline]
    pub fn get_token(
        &self,
    ) -> impl Future<Output = Result<Arc<Credential>, AuthenticationError>> + Send + use<'_> {
        GetToken::new(self)
    }

    /// The part of [`get_token`](Self::get_token) that follows a miss in the slot.
    async fn get_token_slow(&self) -> TokenResult {
        if !rt::is_running() {
            return Err(self.0.no_runtime());
        }
        let deadline = self.0.deadline();
        if !self.0.slot.is_announced()
            && let Ok(Some(stored)) = deadline.bound(self.0.read_storage()).await
        {
            self.schedule_upkeep(&stored, self.0.clock.now());
            return Ok((Arc::clone(stored.credential()), TokenProvenance::Cached));
        }
        self.wait_for_token(RenewalGoal::VALID, deadline).await
    }

    /// Forgets the token, here and in the storage, so that the next call of
    /// [`get_token`](Self::get_token) fetches one. Its refresh token is forgotten as well: a provider without
    /// a [full grant](TokenProvider::has_full_grant) needs a new login after this. A fetch that is under way serves
    /// the callers that wait for it already, and no others.
    ///
    /// # Errors
    ///
    /// The storage, or a provider that keeps tokens, did not forget the token. This manager forgets it all the same.
    pub async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        let forget = || {
            self.0.single_flight.detach(|| {
                self.0.slot.clear();
                *self.0.unkept.lock() = None;
            });
        };
        forget();
        if !rt::is_running() {
            return Err(self.0.no_runtime());
        }
        // Order: the provider before the storage. A process that fetches in between must not store a token that the
        // provider still had.
        let forgotten = self.0.deadline().bound(self.0.forget_provider_token()).await;
        let forgotten = forgotten.unwrap_or_else(|_| Err(self.0.error(AuthenticationErrorKind::Timeout)));
        let deleted = match &self.0.storage {
            Some(storage) => {
                // Race: a flight may be storing a token that it fetched before this call. Wait for it, so that the
                // deletion covers that token.
                let _writing = self.0.storage_deadline().bound(self.0.writing.lock()).await;
                self.0.bounded(storage.delete(&self.0.key)).await
            }
            None => Ok(()),
        };
        // Race: a flight that began meanwhile may have read the storage, or called the provider, before they forgot the
        // token.
        forget();
        deleted.map_err(|error| self.0.error(AuthenticationErrorKind::Storage).with_source(error))?;
        forgotten.map_err(|error| error.or_service_name(self.0.provider.service_name()))
    }

    /// Fetches a new token even if a valid one is cached. Does not use the refresh token, unless the provider has no
    /// [full grant](TokenProvider::has_full_grant). Concurrent callers share one fetch. A caller does not accept the token
    /// of a fetch that had called the provider before the caller asked, so the token has all rights that were granted
    /// until then.
    ///
    /// # Errors
    ///
    /// The manager could not get a token. The cached one stays in use.
    pub async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        Ok(self.wait_for_token(RenewalGoal::NEW, self.0.deadline()).await?.0)
    }

    /// Another credential, to replay a request that an API has rejected; see [`TokenSource::refresh_rejected`].
    ///
    /// Renews only if the cached token still is the rejected one. `None`: the renewal brought the rejected token again,
    /// or renewals back off. As long as the API accepts no request with a renewed token, the manager waits 1, 2, 4, … 60
    /// seconds before the next renewal. It never makes more than ten renewals at once, and then one a second.
    ///
    /// # Errors
    ///
    /// The renewal failed. The rejected token is not handed out again.
    pub async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        Ok(self.as_dependency().get_token_instead_of(rejected).await?.map(|(credential, _)| credential))
    }

    /// Tells the manager that an API has rejected this credential; see [`TokenSource::mark_rejected`]. While
    /// renewals back off, the manager still hands the token out: it has no other one, and the API may accept it
    /// elsewhere.
    pub fn mark_rejected(&self, rejected: &Credential) {
        self.0.mark_rejected(rejected.id());
    }

    /// How long until [`refresh_rejected`](Self::refresh_rejected) may renew the cached token. The manager backs
    /// off after renewals that did not help, and cools down after a failed fetch. Zero: it may renew now. See
    /// [`TokenSource::next_renewal_in`]. [`TokenStatus::next_renewal`] says when the token is renewed ahead of its expiry.
    #[must_use]
    pub fn next_renewal_in(&self) -> Duration {
        self.0.next_renewal_in()
    }

    /// Gets a token before the first request needs it. After a transient failure it tries again, until the limit.
    ///
    /// # Errors
    ///
    /// The last failure, or a time-out.
    pub async fn warm_up(&self, limit: Duration) -> Result<(), AuthenticationError> {
        if !rt::is_running() {
            // Outside of a runtime this returns the cached token, or the error that says so.
            return self.get_token().await.map(drop);
        }
        let deadline = Deadline::after(limit);
        loop {
            let Ok(fetched) = deadline.bound(self.get_token()).await else {
                let last = self.status().last_error;
                return Err(last.unwrap_or_else(|| self.0.error(AuthenticationErrorKind::Timeout)));
            };
            let Err(error) = fetched else { return Ok(()) };
            let cool_down = self.status().cool_down.unwrap_or(INITIAL_COOL_DOWN);
            if !error.is_transient() || !deadline.sleep(cool_down).await {
                return Err(error);
            }
        }
    }

    /// The state of the token, for a readiness probe. Sends nothing and never waits.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        let now = self.0.clock.now();
        let entry = self.0.slot.entry().filter(|entry| entry.is_usable(now));
        let limits = self.0.cool_down_limits();
        let failures = self.0.failures.lock();
        TokenStatus::new(entry.as_deref(), failures.last(limits, now), now)
    }

    /// Stops background renewals, and waits for the flight under way, up to the limit. Returns whether that has ended.
    /// The manager still hands out tokens, and fetches them for callers.
    pub async fn shutdown(&self, limit: Duration) -> bool {
        self.0.is_shut_down.store(true, Ordering::Relaxed);
        match self.0.single_flight.under_way() {
            Some(waiter) => Deadline::after(limit).bound(waiter.outcome()).await.is_ok(),
            None => true,
        }
    }
}

impl fmt::Debug for TokenManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenManager")
            .field("service_name", &self.0.provider.service_name())
            .field("has_token", &self.0.slot.hit(self.0.clock.now(), |_| ()).is_some())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenSource for TokenManager {
    fn cached(&self) -> Option<Arc<Credential>> {
        self.cached()
    }

    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        self.get_token().await
    }

    async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        self.invalidate_token().await
    }

    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        self.force_refresh().await
    }

    async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        self.refresh_rejected(rejected).await
    }

    fn mark_rejected(&self, rejected: &Credential) {
        self.mark_rejected(rejected);
    }

    fn next_renewal_in(&self) -> Option<Duration> {
        Some(self.next_renewal_in())
    }
}
