//! One flight, from the look into the storage to the landing.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Demand, Moment, StorageError, TokenData, TokenId,
    TokenStorage,
};

use super::Inner;
use super::flights::Landing;
use super::goal::Goal;
use super::lookup::Found;
use super::slot::Entry;
use super::turn::{Turn, Waited};
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

/// What is known of a flight besides its result.
struct Course {
    /// The storage could be asked, or what is at hand can be trusted without.
    is_answered: bool,
    /// What failed is another manager, which has said so.
    is_told: bool,
}

/// Runs in a task of its own. Whatever the provider does, it lands.
pub(crate) async fn fly(manager: Arc<Inner>, goal: Goal, landing: Landing<Result<Landed>>) {
    let deadline = Deadline::after(manager.fetch_timeout());
    let mut course = Course { is_answered: true, is_told: false };
    let flown = deadline.bound(unwinding(manager.obtain(goal, &landing, &mut course))).await;
    let result = match flown {
        Ok(Ok(result)) => result,
        Ok(Err(Panicked)) => Err(manager.failed_afresh(AuthenticationErrorKind::Panicked)),
        Err(_) => Err(manager.failed_afresh(AuthenticationErrorKind::Timeout)),
    };
    if let Err(error) = &result {
        let service = manager.provider.service_name();
        let outcome = if goal.is_in_background() { "the token at hand stays" } else { "no token" };
        if course.is_told {
            tracing::debug!(service, %error, outcome, "a fetch failed");
        } else {
            tracing::warn!(service, %error, outcome, "a fetch failed");
        }
    }
    landing.land(result, |result| {
        if let Some(entry) = result.as_ref().ok().and_then(Landed::entry).filter(|entry| entry.is_for_all()) {
            manager.slot.fill(entry);
        }
    });
}

impl Inner {
    async fn obtain(
        &self,
        goal: Goal,
        landing: &Landing<Result<Landed>>,
        course: &mut Course,
    ) -> Result<Landed> {
        let obtained = self.obtain_from_others(goal, landing, course).await;
        let is_failure = matches!(obtained, Err(_) | Ok(Landed::CoolingDown(_)));
        match self.last_resort(goal).filter(|_| is_failure && !course.is_answered) {
            Some(entry) => Ok(Landed::Adopted(entry)),
            None => obtained,
        }
    }

    async fn obtain_from_others(
        &self,
        goal: Goal,
        landing: &Landing<Result<Landed>>,
        course: &mut Course,
    ) -> Result<Landed> {
        // Between a caller's miss and this flight another one may have landed.
        if goal != Goal::Confirmed
            && let Some(entry) = self.slot.hit(self.clock.now(), |_| ()).and_then(|hit| hit.clone())
            && goal.accepts(entry.credential().id())
        {
            return Ok(Landed::Adopted(entry));
        }
        let mut stored = match self.look_into_storage(goal).await {
            Found::Adoptable(entry) => return Ok(self.adopted(entry)),
            Found::OnlyHere(entry, instead) => {
                let turn = self.out_of_turn();
                return Ok(Landed::Adopted(self.offer(entry, instead, turn, landing).await));
            }
            Found::Else(stored) => stored,
            Found::Unanswered => {
                course.is_answered = false;
                None
            }
        };
        if let Some(error) = self.cooling_down(goal).await {
            return Ok(Landed::CoolingDown(error));
        }
        if let Goal::OtherThan(rejected) = goal
            && !self.may_renew(rejected)
        {
            return Ok(Landed::Declined(rejected));
        }
        let mut turn = match self.wait_for_turn(goal).await {
            Waited::Over(turn) => turn,
            Waited::Found(entry) => return Ok(self.adopted(entry)),
            Waited::CoolingDown(error) => return Ok(Landed::CoolingDown(error)),
        };
        if turn.is_ours() {
            stored = match self.look_in_turn(goal, &mut turn).await {
                Found::Adoptable(entry) => return Ok(self.adopted(entry)),
                Found::OnlyHere(entry, instead) => {
                    return Ok(Landed::Adopted(self.offer(entry, instead, turn, landing).await));
                }
                Found::Else(stored) => stored,
                Found::Unanswered => None,
            };
        }

        // If the storage could not say what it has, it still has what it had.
        let stored_id = stored.as_ref().map(TokenData::id).or_else(|| self.slot.stored());
        let known = self.known(stored);
        if let Goal::OtherThan(rejected) = goal {
            self.withdraw(rejected, known.as_ref()).await;
        }
        // From here the life counts: what happens to a clock during the call must not stretch it.
        let begun = self.clock.now();
        let new = match self.renew(goal, known.as_ref(), &mut turn, landing).await {
            Ok(renewed) => self.entry_of_new(renewed, known.as_ref(), begun).await,
            Err(error) => Err(error),
        };
        let (entry, landed): (_, fn(_) -> _) = match new {
            Ok(new) => new,
            Err(error) => {
                course.is_told = error.cool_down().is_some();
                let until = self.remember(&error);
                self.give_up_turn(turn, &error, until).await;
                return Err(self.standing_back(error, until));
            }
        };
        if !entry.is_usable(self.clock.now()) {
            let error = self.error(AuthenticationErrorKind::InvalidResponse);
            let error = error.with_message("the token has expired on arrival");
            let until = self.remember(&error);
            self.keep_refresh_token(entry, stored_id, turn, landing).await;
            return Err(self.standing_back(error, until));
        }
        self.failures.lock().forget();
        Ok(landed(self.store(goal, entry, stored_id, turn, landing).await))
    }

    /// Somebody else has brought this, so what we have met with is over.
    fn adopted(&self, entry: Arc<Entry>) -> Landed {
        let is_news =
            self.slot.entry().is_none_or(|at_hand| at_hand.credential().id() != entry.credential().id());
        if is_news {
            self.failures.lock().forget();
        }
        Landed::Adopted(entry)
    }

    /// The token that may be renewed instead of a full grant.
    fn known(&self, stored: Option<TokenData>) -> Option<Known> {
        let known = |entry: Arc<Entry>| Known {
            token: entry.credential().token().clone(),
            is_shared: !entry.is_private(),
        };
        // What the storage did not take is newer than what it has.
        let unstored = self.slot.entry().filter(|entry| !entry.is_stored() && self.slot.is_current(entry));
        let at_hand = || self.slot.refreshable().map(known);
        // The storage may have fallen back to a token that was renewed before: the refresh token that came
        // with that one was sent then.
        let fell_back = stored.as_ref().is_some_and(|token| self.slot.was_replaced(token.id()));
        let stored = || stored.map(|token| Known { token, is_shared: true });
        let unstored = unstored.map(known);
        if fell_back {
            unstored.or_else(at_hand).or_else(stored)
        } else {
            unstored.or_else(stored).or_else(at_hand)
        }
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

    /// Begins a cool-down. None for settings: who mends a secret's file is not kept waiting; and none for a
    /// panic. Returns until when it lasts, in monotonic milliseconds.
    fn remember(&self, error: &AuthenticationError) -> i64 {
        let now = self.clock.now();
        if matches!(error.kind(), AuthenticationErrorKind::Configuration | AuthenticationErrorKind::Panicked)
        {
            return now.monotonic_millis();
        }
        let until = self.failures.lock().record(error, now, rt::random());
        if let Some(entry) = self.slot.entry() {
            entry.plan_renewal(now, until);
        }
        until
    }

    /// Lets the user persist a new refresh token before anybody uses what came with it.
    async fn tell_of_rotation(&self, known: Option<&Known>, token: &TokenData) {
        let is_new = token.refresh_token().is_some()
            && known.and_then(|known| known.token.refresh_token()) != token.refresh_token();
        if let Some(hook) = self.on_refresh_token.as_ref().filter(|_| is_new) {
            hook(token.clone()).await;
        }
    }

    /// Whether a rejected token may be renewed now. From here on it is no hit any more.
    fn may_renew(&self, rejected: TokenId) -> bool {
        let now = self.clock.now();
        self.slot.reject(rejected, now)
    }

    /// Takes a rejected token out of the storage, so that nobody picks it up meanwhile. One that
    /// can be refreshed stays until it is replaced: with it the refresh token would be lost.
    async fn withdraw(&self, rejected: TokenId, known: Option<&Known>) {
        let refreshable =
            known.is_some_and(|known| known.token.id() == rejected && known.token.refresh_token().is_some());
        if !refreshable {
            self.delete_if(rejected).await;
        }
    }

    async fn renew(
        &self,
        goal: Goal,
        known: Option<&Known>,
        turn: &mut Turn,
        landing: &Landing<Result<Landed>>,
    ) -> Result<Renewed> {
        let service = self.provider.service_name();
        let refreshable =
            known.filter(|known| goal != Goal::Fetched && known.token.refresh_token().is_some());
        let mut is_contested = false;
        if let Some(Known { token, is_shared }) = refreshable {
            is_contested = *is_shared && !self.spend(turn, token.id()).await;
            if !is_contested {
                match calling(self.provider.refresh_token(token), turn, landing).await {
                    Ok(token) => return Ok(Renewed::Refreshed(token)),
                    Err(error) => {
                        self.was_refused(turn, token.id(), &error).await;
                        if error.is_transient() {
                            return Err(error.into_refresh().or_service_name(service));
                        }
                        tracing::debug!(service, %error, "refresh refused; falling back to the full grant");
                    }
                }
            }
        }
        let fetched = calling(self.provider.fetch_token_for(self.demand(goal)), turn, landing).await;
        fetched.map(Renewed::Fetched).map_err(|error| {
            // An error of a step is another manager's, whose service is not this one.
            let error = if error.step().is_none() { error.or_service_name(service) } else { error };
            if is_contested { error.into_refresh() } else { error }
        })
    }

    /// What the provider is asked for. A provider with tokens of its own must not bring one that is at hand
    /// and will not do.
    fn demand(&self, goal: Goal) -> Demand {
        match goal {
            Goal::NewerThan(known) => Demand::NewerThan(known),
            Goal::OtherThan(rejected) => Demand::OtherThan(rejected),
            Goal::Fetched => Demand::New,
            Goal::Any | Goal::Confirmed => match self.slot.entry() {
                Some(entry) if entry.is_rejected() => Demand::OtherThan(entry.credential().id()),
                Some(entry) if !entry.is_usable(self.clock.now()) => {
                    Demand::NewerThan(entry.credential().id())
                }
                _ => Demand::Valid,
            },
        }
    }

    /// Made before anything is stored: what no header can carry is of no use to anybody.
    async fn entry_of_new(
        &self,
        renewed: Renewed,
        known: Option<&Known>,
        begun: Moment,
    ) -> Result<(Entry, fn(Arc<Entry>) -> Landed)> {
        let (token, landed): (_, fn(_) -> _) = match renewed {
            Renewed::Fetched(token) => (token, Landed::Fetched),
            Renewed::Refreshed(token) => (token, Landed::Refreshed),
        };
        self.tell_of_rotation(known, &token).await;
        let now = self.clock.now();
        let entry_of = |token: TokenData| {
            Entry::issued(token, self.slot.stamp(now), self.windows, now)
                .map_err(|error| error.or_service_name(self.provider.service_name()))
        };
        let issued_at = token.issued_at().unwrap_or_else(|| begun.wall());
        let entry = entry_of(token.clone().with_issued_at(issued_at))?;
        if entry.is_usable(now) {
            return Ok((entry, landed));
        }
        // An issuer that hands out the same token until it expires: half of what is left must do.
        Ok((entry_of(token.with_issued_at(now.wall().max(issued_at)))?, landed))
    }

    /// The access token that came with it is of no use, but the server may refuse the old refresh token
    /// from now on. A token at hand that is still valid keeps serving, with the new one.
    async fn keep_refresh_token(
        &self,
        late: Entry,
        stored: Option<TokenId>,
        turn: Turn,
        landing: &Landing<Result<Landed>>,
    ) {
        let Some(refresh_token) = late.credential().token().refresh_token() else { return };
        let at_hand = self.slot.entry().filter(|entry| entry.is_usable(self.clock.now()));
        let kept = at_hand.and_then(|entry| entry.with_refresh_token(refresh_token).ok());
        let kept = self.store(Goal::Fetched, kept.unwrap_or(late), stored, turn, landing).await;
        if kept.is_for_all() {
            landing.while_current(|| self.slot.fill(&kept));
        }
    }

    /// Gives a storage that answers again what it could not take before, if it has nothing better.
    async fn offer(
        &self,
        entry: Arc<Entry>,
        instead: Option<TokenData>,
        turn: Turn,
        landing: &Landing<Result<Landed>>,
    ) -> Arc<Entry> {
        if !turn.can_compare() {
            return entry;
        }
        let offered = entry.as_stored(self.slot.stamp(self.clock.now()));
        self.store(Goal::Any, offered, instead.map(|token| token.id()), turn, landing).await
    }

    /// Stores a token, with the entry that is to be used from now on: usually the one given.
    async fn store(
        &self,
        goal: Goal,
        mut entry: Entry,
        read: Option<TokenId>,
        mut turn: Turn,
        landing: &Landing<Result<Landed>>,
    ) -> Arc<Entry> {
        let service = self.provider.service_name();
        if self.storage.is_some() {
            // An invalidation either deletes what is stored here, or has detached us by now.
            // Who holds it may be in a runtime that nobody drives any more.
            let writing = self.storage_deadline().bound(self.writing.lock()).await;
            if landing.is_current() {
                let stored = match &writing {
                    Ok(_) => self.store_in_turn(&mut turn, entry.credential().token(), read).await,
                    Err(_) => Err(StorageError::new("an earlier write does not end")),
                };
                let stamp = self.slot.stamp(self.clock.now());
                match stored {
                    Ok(true) => entry.outlive_own_change(stamp),
                    Ok(false) => {
                        tracing::debug!(service, "somebody else has stored a token meanwhile");
                        if let Found::Adoptable(newer) = self.look_into_storage(goal).await {
                            return newer;
                        }
                        // There is none: it was invalidated, or somebody is about to store another.
                        entry.is_for_those_who_wait();
                    }
                    Err(error) => {
                        self.warn_of_storage(
                            &error,
                            "the token could not be stored; it stays in the process",
                        );
                        entry.is_all_there_is(read, error.is_unsent(), stamp);
                    }
                }
            }
        }
        tracing::debug!(service, expires_at = ?entry.credential().expires_at(), "a new token");
        Arc::new(entry)
    }

    pub(super) async fn delete_if(&self, id: TokenId) {
        let Some(storage) = &self.storage else { return };
        if let Err(error) = self.bounded(delete_if(storage.as_ref(), &self.key, id)).await {
            tracing::warn!(service = self.provider.service_name(), %error, "a token could not be deleted");
        }
    }
}

enum Renewed {
    Fetched(TokenData),
    Refreshed(TokenData),
}

/// A token that may be renewed, and whether others have it too.
struct Known {
    token: TokenData,
    is_shared: bool,
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

/// A call of the provider. If the flight is detached meanwhile, the next one need not wait for it.
async fn calling<T>(call: impl Future<Output = T>, turn: &mut Turn, landing: &Landing<Result<Landed>>) -> T {
    let mut call = pin!(call);
    let mut detached = pin!(landing.detached());
    let mut is_attached = true;
    poll_fn(|context| {
        if is_attached && detached.as_mut().poll(context).is_ready() {
            is_attached = false;
            turn.give_up();
        }
        call.as_mut().poll(context)
    })
    .await
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
