//! One flight, from the look into the storage to the landing.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Moment, StorageError, TokenData, TokenId, TokenLease,
    TokenStorage,
};

use super::Inner;
use super::flights::Landing;
use super::goal::Goal;
use super::slot::Entry;
use crate::rt::{self, Deadline};

/// How a flight ended without a failure of its own.
#[derive(Clone)]
pub(crate) enum Landed {
    /// A new token by the full grant.
    Fetched(Arc<Entry>),
    /// A new token by a refresh token.
    Refreshed(Arc<Entry>),
    /// One that somebody else had put into slot or storage.
    Adopted(Arc<Entry>),
    /// This token was rejected, but renewals back off.
    Declined(TokenId),
    /// Nothing was tried: this went wrong lately.
    CoolingDown(AuthenticationError),
}

impl Landed {
    fn entry(&self) -> Option<&Arc<Entry>> {
        match self {
            Self::Fetched(entry) | Self::Refreshed(entry) | Self::Adopted(entry) => Some(entry),
            Self::Declined(_) | Self::CoolingDown(_) => None,
        }
    }
}

pub(crate) type Result<T> = std::result::Result<T, AuthenticationError>;

/// Runs in a task of its own. Whatever the provider does, it lands.
pub(crate) async fn fly(manager: Arc<Inner>, goal: Goal, landing: Landing<Result<Landed>>) {
    let deadline = Deadline::after(manager.fetch_timeout);
    let flown = deadline.bound(unwinding(manager.obtain(goal, &landing))).await;
    let result = match flown {
        Some(Ok(result)) => result,
        Some(Err(Panicked)) => Err(manager.error(AuthenticationErrorKind::Panicked)),
        None => Err(manager.error(AuthenticationErrorKind::Timeout)),
    };
    if let Err(error) = &result {
        let service = manager.provider.service_name();
        let outcome = if matches!(goal, Goal::NewerThan(_)) { "the token at hand stays" } else { "no token" };
        tracing::warn!(service, %error, outcome, "a fetch failed");
    }
    landing.land(result, |result| {
        if let Some(entry) = result.as_ref().ok().and_then(Landed::entry) {
            manager.slot.fill(Arc::clone(entry));
        }
    });
}

impl Inner {
    async fn obtain(&self, goal: Goal, landing: &Landing<Result<Landed>>) -> Result<Landed> {
        // Between a caller's miss and this flight another one may have landed.
        if let Some(entry) = self.slot.hit(self.clock.now()).and_then(|hit| hit.clone())
            && goal.accepts(entry.credential().id())
        {
            return Ok(Landed::Adopted(entry));
        }
        let mut stored = match self.look_into_storage(goal).await {
            Found::Adoptable(entry) => return Ok(Landed::Adopted(entry)),
            Found::Else(stored) => stored,
        };
        if let Some(error) = self.cooling_down(goal).await {
            return Ok(Landed::CoolingDown(error));
        }
        if let Goal::OtherThan(rejected) = goal
            && !self.may_renew(rejected)
        {
            return Ok(Landed::Declined(rejected));
        }
        let lease = self.lease().await;
        if lease.is_some() {
            // Who had the lease before has probably left a token.
            stored = match self.look_into_storage(goal).await {
                Found::Adoptable(entry) => return Ok(Landed::Adopted(entry)),
                Found::Else(stored) => stored,
            };
        }

        let stored_id = stored.as_ref().map(TokenData::id);
        let token_of = |entry: Arc<Entry>| entry.credential().token().clone();
        // What the storage did not take is newer than what it has.
        let unstored = self.slot.entry().filter(|entry| !entry.is_stored()).map(token_of);
        let known = unstored.or(stored).or_else(|| self.slot.refreshable().map(token_of));
        if let Goal::OtherThan(rejected) = goal {
            self.withdraw(rejected, known.as_ref()).await;
        }
        // From here the life counts: what happens to a clock during the call must not stretch it.
        let begun = self.clock.now();
        let renewed = self.renew(goal, known.as_ref()).await.inspect_err(|error| self.remember(error))?;
        let (Renewed::Fetched(token) | Renewed::Refreshed(token)) = &renewed;
        self.tell_of_rotation(known.as_ref(), token).await;
        let entry = self.entry_of_new(token.clone(), begun).inspect_err(|error| self.remember(error))?;
        if !entry.is_usable(self.clock.now()) {
            let error = self.error(AuthenticationErrorKind::InvalidResponse);
            let error = error.with_message("the token has expired on arrival");
            self.remember(&error);
            self.keep_refresh_token(entry, stored_id, landing).await;
            return Err(error);
        }
        self.failures.lock().forget();
        let entry = self.store(entry, stored_id, landing).await;
        drop(lease);
        Ok(match renewed {
            Renewed::Fetched(_) => Landed::Fetched(entry),
            Renewed::Refreshed(_) => Landed::Refreshed(entry),
        })
    }

    /// The storage's token, if it may be used: for storages that are asked each time.
    pub(super) async fn read_storage(&self) -> Option<Arc<Entry>> {
        let Found::Adoptable(entry) = self.look_into_storage(Goal::Any).await else {
            return None;
        };
        self.slot.remember(&entry);
        Some(entry)
    }

    async fn look_into_storage(&self, goal: Goal) -> Found {
        let Some(storage) = &self.storage else {
            return Found::Else(None);
        };
        // Read before the token: a change in between makes the entry stale, never fresh by mistake.
        let generation = self.slot.generation();
        let token = match self.bounded(storage.get(&self.key)).await {
            Ok(Some(token)) => token,
            Ok(None) => return self.instead_of_storage(goal, |entry| !entry.is_stored()),
            Err(error) => {
                tracing::warn!(service = self.provider.service_name(), %error, "going on without the token storage");
                return self.instead_of_storage(goal, |entry| self.slot.is_current(entry));
            }
        };
        let now = self.clock.now();
        let id = token.id();
        match self.slot.entry_of(token, generation, self.windows, now) {
            Ok(entry)
                if entry.is_usable(now)
                    && goal.accepts(id)
                    && !self.slot.is_rejected(id)
                    && !self.slot.entry().is_some_and(|at_hand| at_hand.supersedes(id)) =>
            {
                Found::Adoptable(Arc::new(entry))
            }
            Ok(entry) => match self.instead_of_storage(goal, |at_hand| !at_hand.is_stored()) {
                Found::Else(_) => Found::Else(Some(entry.credential().token().clone())),
                at_hand @ Found::Adoptable(_) => at_hand,
            },
            // No header can carry it: as good as none.
            Err(_) => Found::Else(None),
        }
    }

    /// What is at hand, where the storage cannot be asked, or did not take it: a broken storage must
    /// not cost a token call per caller.
    fn instead_of_storage(&self, goal: Goal, will_do: impl FnOnce(&Entry) -> bool) -> Found {
        let at_hand = self.slot.entry().filter(|entry| {
            entry.is_usable(self.clock.now()) && goal.accepts(entry.credential().id()) && will_do(entry)
        });
        at_hand.map_or(Found::Else(None), Found::Adoptable)
    }

    /// What went wrong last, while the cool-down of that lasts. Who asks for a fetch expressly gets one,
    /// and so does a provider that was refused and has other credentials now.
    async fn cooling_down(&self, goal: Goal) -> Option<AuthenticationError> {
        let now = self.clock.now();
        let error = self.failures.lock().cooling_down(now).filter(|_| goal != Goal::Fetched)?;
        let is_over = error.is_permanent()
            && self.provider.has_new_credentials().await
            && self.failures.lock().bypass(now);
        (!is_over).then_some(error)
    }

    /// Begins a cool-down. None for settings: who mends a secret's file is not kept waiting.
    fn remember(&self, error: &AuthenticationError) {
        if *error.kind() == AuthenticationErrorKind::Configuration {
            return;
        }
        let now = self.clock.now();
        let until = self.failures.lock().record(error, now, rt::random());
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
    }

    /// Lets the user persist a new refresh token before anybody uses what came with it.
    async fn tell_of_rotation(&self, known: Option<&TokenData>, token: &TokenData) {
        let is_new = token.refresh_token().is_some()
            && known.and_then(TokenData::refresh_token) != token.refresh_token();
        if let Some(hook) = self.on_refresh_token.as_ref().filter(|_| is_new) {
            hook(token.clone()).await;
        }
    }

    /// Whether a rejected token may be renewed now. From here on it is no hit any more.
    fn may_renew(&self, rejected: TokenId) -> bool {
        let now = self.clock.now();
        self.slot.reject(rejected, |current| self.rejections.lock().permit(current.was_accepted(), now))
    }

    /// The lease on our key, if the storage has such. Waiting for it is bounded, and without it the
    /// fetch goes on: one fetch too many is better than none.
    async fn lease(&self) -> Option<Box<dyn TokenLease + '_>> {
        let leases = self.storage.as_ref()?.leases()?;
        match Deadline::after(self.fetch_timeout / 2).bound(leases.acquire(&self.key)).await {
            Some(Ok(lease)) => Some(lease),
            Some(Err(error)) => {
                tracing::warn!(service = self.provider.service_name(), %error, "fetching without a lease");
                None
            }
            None => {
                tracing::warn!(
                    service = self.provider.service_name(),
                    "the lease is not given back; fetching without"
                );
                None
            }
        }
    }

    /// Takes a rejected token out of the storage, so that nobody picks it up meanwhile. One that
    /// can be refreshed stays until it is replaced: with it the refresh token would be lost.
    async fn withdraw(&self, rejected: TokenId, known: Option<&TokenData>) {
        let refreshable =
            known.is_some_and(|token| token.id() == rejected && token.refresh_token().is_some());
        if !refreshable {
            self.delete_if(rejected).await;
        }
    }

    async fn renew(&self, goal: Goal, known: Option<&TokenData>) -> Result<Renewed> {
        let service = self.provider.service_name();
        if let Some(known) = known.filter(|token| goal != Goal::Fetched && token.refresh_token().is_some()) {
            match self.provider.refresh_token(known).await {
                Ok(token) => return Ok(Renewed::Refreshed(token)),
                Err(error) if error.is_transient() => {
                    return Err(error.into_refresh().or_service_name(service));
                }
                Err(error) => {
                    tracing::debug!(service, %error, "refresh refused; falling back to the full grant");
                }
            }
        }
        let fetched = self.provider.fetch_token().await;
        fetched.map(Renewed::Fetched).map_err(|error| error.or_service_name(service))
    }

    /// Made before anything is stored: what no header can carry is of no use to anybody.
    fn entry_of_new(&self, token: TokenData, begun: Moment) -> Result<Entry> {
        let now = self.clock.now();
        let entry_of = |token: TokenData| {
            Entry::new(token, self.slot.generation(), self.windows, now)
                .map_err(|error| error.or_service_name(self.provider.service_name()))
        };
        let issued_at = token.issued_at().unwrap_or_else(|| begun.wall());
        let entry = entry_of(token.clone().with_issued_at(issued_at))?;
        if entry.is_usable(now) {
            return Ok(entry);
        }
        // An issuer that hands out the same token until it expires: half of what is left must do.
        entry_of(token.with_issued_at(now.wall().max(issued_at)))
    }

    /// The access token that came with it is of no use, but the server may refuse the old refresh token
    /// from now on. A token at hand that is still valid keeps serving, with the new one.
    async fn keep_refresh_token(
        &self,
        late: Entry,
        stored: Option<TokenId>,
        landing: &Landing<Result<Landed>>,
    ) {
        let Some(refresh_token) = late.credential().token().refresh_token() else { return };
        let at_hand = self.slot.entry().filter(|entry| entry.is_usable(self.clock.now()));
        let kept = at_hand.and_then(|entry| entry.with_refresh_token(refresh_token).ok());
        let kept = self.store(kept.unwrap_or(late), stored, landing).await;
        landing.while_current(|| self.slot.fill(kept));
    }

    async fn store(
        &self,
        mut entry: Entry,
        stored_before: Option<TokenId>,
        landing: &Landing<Result<Landed>>,
    ) -> Arc<Entry> {
        let service = self.provider.service_name();
        if let Some(storage) = &self.storage {
            // An invalidation either deletes what is stored here, or has detached us by now.
            // Who holds it may be in a runtime that nobody drives any more.
            let writing = self.storage_deadline().bound(self.writing.lock()).await;
            if landing.is_current() {
                let stored = match &writing {
                    Some(_) => self.bounded(storage.set(&self.key, entry.credential().token())).await,
                    None => Err(StorageError::new("an earlier write does not end")),
                };
                match stored {
                    Ok(()) => entry.outlive_own_change(self.slot.generation()),
                    Err(error) => {
                        tracing::warn!(service, %error, "the token could not be stored; keeping it in the process");
                        entry.is_all_there_is(stored_before);
                    }
                }
            }
        }
        tracing::debug!(service, expires_at = ?entry.credential().expires_at(), "a new token");
        Arc::new(entry)
    }

    /// A storage that hangs must cost neither the fetch nor the token that it brought.
    pub(super) async fn bounded<T>(
        &self,
        call: impl Future<Output = std::result::Result<T, StorageError>>,
    ) -> std::result::Result<T, StorageError> {
        let answered = self.storage_deadline().bound(call).await;
        answered.unwrap_or_else(|| Err(StorageError::new("no answer in time")))
    }

    pub(super) fn storage_deadline(&self) -> Deadline {
        Deadline::after(MOST_PER_STORAGE_CALL.min(self.fetch_timeout / 8))
    }

    async fn delete_if(&self, id: TokenId) {
        let Some(storage) = &self.storage else { return };
        if let Err(error) = self.bounded(delete_if(storage.as_ref(), &self.key, id)).await {
            tracing::warn!(service = self.provider.service_name(), %error, "a token could not be deleted");
        }
    }
}

const MOST_PER_STORAGE_CALL: Duration = Duration::from_secs(2);

enum Renewed {
    Fetched(TokenData),
    Refreshed(TokenData),
}

enum Found {
    Adoptable(Arc<Entry>),
    /// No token, or one that is only good for being refreshed.
    Else(Option<TokenData>),
}

async fn delete_if(
    storage: &dyn TokenStorage,
    key: &str,
    id: TokenId,
) -> std::result::Result<(), StorageError> {
    if let Some(comparing) = storage.compare_and_delete() {
        comparing.delete_if(key, id).await?;
    } else if storage.get(key).await?.is_some_and(|token| token.id() == id) {
        storage.delete(key).await?;
    }
    Ok(())
}

struct Panicked;

/// Turns a panic into an error. What the future leaves behind is dropped, never looked at again.
async fn unwinding<F: Future>(future: F) -> std::result::Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_payload) => std::task::Poll::Ready(Err(Panicked)),
    })
    .await
}
