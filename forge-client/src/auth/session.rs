use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthVerdict, Credential, TokenId, TokenSource};
use http::{HeaderMap, StatusCode};

use super::AuthRetryStrategy;
use crate::ExaminedResponse;
use crate::timing::until_over;

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
    /// Have the token source renew the rejected credential. Replay the request if the renewal brings another
    /// credential and the body can be sent again; else hand the answer on.
    Renew(ReplaySchedule),
}

/// When a rejected credential is renewed, and when the request is sent again with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplaySchedule {
    /// The wait from the answer to the renewal.
    pub(crate) before_renewal: Duration,
    /// The wait from the renewal to the replay.
    pub(crate) before_replay: Duration,
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
        self.strategy.reads_body() && AuthVerdict::of(status, headers) == AuthVerdict::TokenRejected
    }

    pub(crate) fn after(
        &self,
        credential: &Credential,
        verdict: AuthVerdict,
        response: &ExaminedResponse<'_>,
        source: &dyn TokenSource,
    ) -> Next {
        match verdict {
            AuthVerdict::Accepted => {
                credential.mark_accepted();
                Next::HandOn
            }
            AuthVerdict::TokenRejected => {
                let delay = self.strategy.delay_before_replay(self.replays + 1, response);
                let schedule = delay.and_then(|delay| self.schedule(credential, delay, source));
                schedule.map_or(Next::HandOn, Next::Renew)
            }
            _ => Next::HandOn,
        }
    }

    /// Before the first replay the source renews the credential at once. Before a later one the call waits first:
    /// the last renewal did not help, so the source backs off and renews nothing until then. `None`: the wait would
    /// be longer than `MAX_BACK_OFF`.
    fn schedule(
        &self,
        rejected: &Credential,
        delay: Duration,
        source: &dyn TokenSource,
    ) -> Option<ReplaySchedule> {
        if self.replays == 0 {
            return Some(ReplaySchedule { before_renewal: Duration::ZERO, before_replay: delay });
        }
        // Race: other calls begin during the wait. If the source may renew now, the first of them does, instead of
        // sending the rejected credential.
        source.mark_rejected(rejected);
        let has_another = source
            .cached()
            .is_some_and(|cached| cached.id() != rejected.id() && !self.rejected.contains(&cached.id()));
        let back_off = source.next_renewal_in().filter(|_| !has_another).unwrap_or_default();
        (back_off <= MAX_BACK_OFF).then(|| ReplaySchedule {
            before_renewal: delay.max(until_over(back_off)),
            before_replay: Duration::ZERO,
        })
    }

    /// Whether to replay with what a renewal brought: not with a token that was rejected before.
    pub(crate) fn replay_with(&mut self, rejected: &Credential, renewed: Option<Arc<Credential>>) -> bool {
        self.rejected.push(rejected.id());
        self.renewed = renewed.filter(|renewed| !self.rejected.contains(&renewed.id()));
        self.replays += u32::from(self.renewed.is_some());
        self.renewed.is_some()
    }
}

/// The longest back-off of a token source that a replay waits for. A `TokenManager` backs off for at most this long
/// after renewals that do not help. A longer one is the cool-down of a token endpoint, which may ask for hours.
const MAX_BACK_OFF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use forge_core::{AuthenticationError, TokenData, async_trait};

    use super::super::SimpleAuthRetryStrategy;
    use super::*;

    fn credential(token: &str) -> Arc<Credential> {
        Arc::new(Credential::new(TokenData::new(token)).unwrap())
    }

    fn unauthorized() -> ExaminedResponse<'static> {
        static NONE: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        ExaminedResponse { status: StatusCode::UNAUTHORIZED, headers: &NONE, body: None }
    }

    const AT_ONCE: ReplaySchedule =
        ReplaySchedule { before_renewal: Duration::ZERO, before_replay: Duration::ZERO };

    /// A source with this credential and this remaining back-off. Remembers which credentials were rejected.
    #[derive(Default)]
    struct Source {
        at_hand: Option<Arc<Credential>>,
        next_renewal_in: Option<Duration>,
        rejected: Mutex<Vec<TokenId>>,
    }

    type TokenResult<T> = Result<T, AuthenticationError>;

    #[async_trait]
    impl TokenSource for Source {
        fn cached(&self) -> Option<Arc<Credential>> {
            self.at_hand.clone()
        }

        async fn get_token(&self) -> TokenResult<Arc<Credential>> {
            unreachable!("no I/O")
        }

        async fn invalidate_token(&self) -> TokenResult<()> {
            unreachable!("no I/O")
        }

        async fn force_refresh(&self) -> TokenResult<Arc<Credential>> {
            unreachable!("no I/O")
        }

        async fn refresh_rejected(&self, _: &Credential) -> TokenResult<Option<Arc<Credential>>> {
            unreachable!("no I/O")
        }

        fn mark_rejected(&self, rejected: &Credential) {
            self.rejected.lock().unwrap().push(rejected.id());
        }

        fn next_renewal_in(&self) -> Option<Duration> {
            self.next_renewal_in
        }
    }

    fn after(session: &AuthSession<'_>, rejected: &Credential) -> Next {
        session.after(rejected, AuthVerdict::TokenRejected, &unauthorized(), &Source::default())
    }

    #[test]
    fn inv11_a_later_replay_waits_for_the_longer_of_delay_and_back_off_and_then_renews() {
        let delay = Duration::from_secs(2);
        let strategy = SimpleAuthRetryStrategy::new().max_retries(9).delay(delay);
        let mut session = AuthSession::new(&strategy);
        let tokens = ["1", "2", "3"].map(credential);
        let [one, two, three] = &tokens;
        let backs_off =
            |seconds| Source { next_renewal_in: Some(Duration::from_secs(seconds)), ..Source::default() };

        let source = backs_off(60);
        let schedule = ReplaySchedule { before_renewal: Duration::ZERO, before_replay: delay };
        let next = session.after(one, AuthVerdict::TokenRejected, &unauthorized(), &source);
        assert_eq!((next, source.rejected.lock().unwrap().len()), (Next::Renew(schedule), 0), "at once");
        assert!(session.replay_with(one, Some(Arc::clone(two))));

        let with = |source: Source, at_hand: &Arc<Credential>| Source {
            at_hand: Some(Arc::clone(at_hand)),
            ..source
        };
        for (source, waits) in [
            (Source::default(), delay),
            (backs_off(0), delay),
            (backs_off(1), delay),
            (backs_off(3), until_over(Duration::from_secs(3))),
            (with(backs_off(3), two), until_over(Duration::from_secs(3))),
            (with(backs_off(3), one), until_over(Duration::from_secs(3))),
            // Another call has renewed it meanwhile.
            (with(backs_off(3), three), delay),
            (with(backs_off(61), three), delay),
            (backs_off(60), until_over(MAX_BACK_OFF)),
        ] {
            let next = session.after(two, AuthVerdict::TokenRejected, &unauthorized(), &source);
            let schedule = ReplaySchedule { before_renewal: waits, before_replay: Duration::ZERO };
            assert_eq!(next, Next::Renew(schedule));
            assert_eq!(*source.rejected.lock().unwrap(), [two.id()], "marked before the wait begins");
        }
        for back_off in [MAX_BACK_OFF + Duration::from_millis(1), Duration::MAX] {
            let source = Source { next_renewal_in: Some(back_off), ..Source::default() };
            let next = session.after(two, AuthVerdict::TokenRejected, &unauthorized(), &source);
            assert_eq!((next, source.rejected.lock().unwrap().len()), (Next::HandOn, 1), "{back_off:?}");
        }
    }

    #[test]
    fn inv12_the_second_401_goes_to_the_caller() {
        let strategy = SimpleAuthRetryStrategy::new();
        let mut session = AuthSession::new(&strategy);
        let (one, two) = (credential("1"), credential("2"));
        assert_eq!(after(&session, &one), Next::Renew(AT_ONCE));
        assert!(session.replay_with(&one, Some(Arc::clone(&two))));
        assert_eq!(session.take_renewed().map(|renewed| renewed.id()), Some(two.id()));
        assert_eq!(after(&session, &two), Next::HandOn);
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
            let verdict = AuthVerdict::of(response.status, response.headers);
            session.after(&one, verdict, &response, &Source::default());
            assert_eq!(one.was_accepted(), accepted, "{status}");
        }
    }
}
