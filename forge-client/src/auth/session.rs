use std::sync::Arc;
use std::time::Duration;

use forge_core::{Credential, Judgement, TokenId};
use http::{HeaderMap, StatusCode};

use super::AuthRetryStrategy;
use crate::ExaminedResponse;

/// What token auth remembers of one call, and what it makes of each answer. No I/O: whoever sends
/// asks it, and does what it says.
pub(crate) struct AuthSession<'a> {
    strategy: &'a dyn AuthRetryStrategy,
    replays: u32,
    rejected: Vec<TokenId>,
    /// What a renewal brought for the next send.
    renewed: Option<Arc<Credential>>,
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Hand it on.
    HandOn,
    /// Have the rejected credential renewed, then, if another came of it and the body allows, replay
    /// after this delay; else hand it on.
    Renew(Duration),
}

impl<'a> AuthSession<'a> {
    pub(crate) fn new(strategy: &'a dyn AuthRetryStrategy) -> Self {
        Self { strategy, replays: 0, rejected: Vec::new(), renewed: None }
    }

    /// The credential that a renewal brought, for the send it was brought for.
    pub(crate) fn take_renewed(&mut self) -> Option<Arc<Credential>> {
        self.renewed.take()
    }

    /// Whether the body must be at hand for [`after`](Self::after).
    pub(crate) fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.strategy.reads_body() && Judgement::of(status, headers) == Judgement::Rejected
    }

    pub(crate) fn after(
        &self,
        credential: &Credential,
        judgement: Judgement,
        response: &ExaminedResponse<'_>,
    ) -> Next {
        match judgement {
            Judgement::Accepted => {
                credential.mark_accepted();
                Next::HandOn
            }
            Judgement::Rejected => {
                self.strategy.replay_after(self.replays + 1, response).map_or(Next::HandOn, Next::Renew)
            }
            _ => Next::HandOn,
        }
    }

    /// Whether to replay with what a renewal brought: not with a token that was rejected before.
    pub(crate) fn replay_with(&mut self, rejected: &Credential, renewed: Option<Arc<Credential>>) -> bool {
        self.rejected.push(rejected.id());
        self.renewed = renewed.filter(|renewed| !self.rejected.contains(&renewed.id()));
        self.replays += u32::from(self.renewed.is_some());
        self.renewed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use forge_core::TokenData;

    use super::super::SimpleAuthRetryStrategy;
    use super::*;

    fn credential(token: &str) -> Arc<Credential> {
        Arc::new(Credential::new(TokenData::new(token)).unwrap())
    }

    fn unauthorized() -> ExaminedResponse<'static> {
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        ExaminedResponse { status: StatusCode::UNAUTHORIZED, headers: &NONE, body: None }
    }

    #[test]
    fn inv12_the_second_401_goes_to_the_caller() {
        let strategy = SimpleAuthRetryStrategy::new();
        let mut session = AuthSession::new(&strategy);
        let (one, two) = (credential("1"), credential("2"));
        assert_eq!(session.after(&one, Judgement::Rejected, &unauthorized()), Next::Renew(Duration::ZERO));
        assert!(session.replay_with(&one, Some(Arc::clone(&two))));
        assert_eq!(session.take_renewed().map(|renewed| renewed.id()), Some(two.id()));
        assert_eq!(session.after(&two, Judgement::Rejected, &unauthorized()), Next::HandOn);
    }

    #[test]
    fn inv12_no_token_is_sent_again_once_it_was_rejected() {
        let strategy = SimpleAuthRetryStrategy::new().max_retries(9);
        let mut session = AuthSession::new(&strategy);
        let (one, two) = (credential("1"), credential("2"));
        assert!(session.replay_with(&one, Some(Arc::clone(&two))));
        assert!(!session.replay_with(&two, Some(Arc::clone(&one))));
        assert!(!session.replay_with(&two, None));
    }

    #[test]
    fn inv11_an_accepted_request_is_remembered_and_a_way_to_a_login_page_is_none() {
        let strategy = SimpleAuthRetryStrategy::new();
        let session = AuthSession::new(&strategy);
        let one = credential("1");
        for (status, accepted) in [(401, false), (403, false), (302, false), (500, false), (200, true)] {
            let response =
                ExaminedResponse { status: StatusCode::from_u16(status).unwrap(), ..unauthorized() };
            session.after(&one, Judgement::of(response.status, response.headers), &response);
            assert_eq!(one.was_accepted(), accepted, "{status}");
        }
    }
}
