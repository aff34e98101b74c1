//! The manager as a dependency of another token source.

use std::sync::Arc;

use forge_core::{AuthenticationError, Credential, TokenId, TokenRequirement};

use super::goal::RenewalGoal;
use super::{TokenManager, TokenProvenance};
use crate::rt;

/// A manager whose token others are built from, as the steps of a pipeline are; see
/// [`TokenManager::as_dependency`](crate::TokenManager::as_dependency).
#[derive(Clone, Copy, Debug)]
pub struct TokenDependency<'a>(&'a TokenManager);

impl TokenManager {
    /// This manager for the author of a token source that needs its token: says where a token came from, and finds and
    /// discards tokens without a fetch. Clients of an API do not need it.
    ///
    /// ```no_run
    /// # async fn run(manager: requestforge::TokenManager) -> Result<(), requestforge::AuthenticationError> {
    /// use requestforge::token::TokenRequirement;
    ///
    /// let dependency = manager.as_dependency();
    /// if dependency.find_token().await.is_none() {
    ///     let (token, provenance) = dependency.get_token_for(TokenRequirement::Valid).await?;
    ///     println!("{provenance:?}, expires at {:?}", token.expires_at());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn as_dependency(&self) -> TokenDependency<'_> {
        TokenDependency(self)
    }
}

impl TokenDependency<'_> {
    /// A token that meets the requirement, and where it came from. For [`Valid`](TokenRequirement::Valid) as
    /// [`get_token`](TokenManager::get_token), for [`New`](TokenRequirement::New) as
    /// [`force_refresh`](TokenManager::force_refresh). For the others a valid token with another identity if slot or
    /// storage has one, else a new one.
    ///
    /// After a rejection [`get_token_instead_of`](Self::get_token_instead_of) says more.
    ///
    /// # Errors
    ///
    /// The manager could not get such a token.
    pub async fn get_token_for(
        self,
        requirement: TokenRequirement,
    ) -> Result<(Arc<Credential>, TokenProvenance), AuthenticationError> {
        let Self(manager) = self;
        let goal = match requirement {
            TokenRequirement::Valid | TokenRequirement::NewerThan(_) => RenewalGoal::Obtain(requirement),
            TokenRequirement::OtherThan(rejected) => manager.goal_after_rejection(rejected),
            _ => RenewalGoal::NEW,
        };
        match manager.peek(goal).filter(|hit| goal.accepts(hit.id())) {
            Some(hit) => Ok((hit, TokenProvenance::Cached)),
            None if goal == RenewalGoal::VALID => manager.get_token_slow().await,
            None => manager.wait_for_token(goal, manager.0.deadline()).await,
        }
    }

    /// As [`refresh_rejected`](TokenManager::refresh_rejected), and where the credential came from.
    ///
    /// # Errors
    ///
    /// The renewal failed.
    pub async fn get_token_instead_of(
        self,
        rejected: &Credential,
    ) -> Result<Option<(Arc<Credential>, TokenProvenance)>, AuthenticationError> {
        let Self(manager) = self;
        let goal = manager.goal_after_rejection(rejected.id());
        if let Some(current) = manager.peek(goal).filter(|current| current.id() != rejected.id()) {
            return Ok(Some((current, TokenProvenance::Cached)));
        }
        let obtained = manager.wait_for_token_unless_paused(goal, manager.0.deadline()).await?;
        Ok(obtained.filter(|(credential, _)| credential.id() != rejected.id()))
    }

    /// A valid token, if the manager or its storage has one. Fetches nothing.
    pub async fn find_token(self) -> Option<Arc<Credential>> {
        let Self(manager) = self;
        if let Some(hit) = manager.cached() {
            return Some(hit);
        }
        if !rt::is_running() {
            return None;
        }
        let stored = manager.0.deadline().bound(manager.0.read_storage()).await.ok()??;
        Some(Arc::clone(stored.credential()))
    }

    /// Forgets this token in the manager and in the storage, if they still have this one. For a token that is known to
    /// be of no use before any request has carried it.
    pub async fn discard_token(self, id: TokenId) {
        let inner = &self.0.0;
        let is_last_way = !inner.provider.has_full_grant()
            && inner.slot.entry().is_some_and(|entry| {
                entry.id() == id && entry.credential().token().refresh_token().is_some()
            });
        inner.slot.discard(id);
        // Deleting the record would lose the refresh token, which is the only way to a token.
        if !is_last_way {
            inner.delete_if(id).await;
        }
    }
}

impl TokenManager {
    /// As [`cached`](Self::cached), but without starting a background renewal, unless any valid token meets the goal.
    /// Otherwise the caller would join that renewal, which may end without trying the full grant.
    fn peek(&self, goal: RenewalGoal) -> Option<Arc<Credential>> {
        if goal == RenewalGoal::VALID {
            return self.cached();
        }
        let hit = self.0.slot.hit(self.0.clock.now(), |_| ())?;
        hit.as_deref().map(|entry| Arc::clone(entry.credential()))
    }

    fn goal_after_rejection(&self, rejected: TokenId) -> RenewalGoal {
        self.0.mark_rejected(rejected);
        RenewalGoal::Obtain(TokenRequirement::OtherThan(rejected))
    }
}
