//! The fate of the refresh tokens that this manager has sent.

use std::collections::VecDeque;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ClockReading, OAuthErrorCode, TokenId};

/// The state in which a failed call leaves the refresh token that was sent with it (invariant 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefreshTokenState {
    /// The server says that the refresh token is no longer valid.
    Dead,
    /// The server refused the call, for another reason.
    Refused,
    /// The server did not process the call.
    Unused,
    /// The server may have processed the call, and so have replaced the refresh token.
    InDoubt,
}

/// Codes by which servers say that a refresh token is of no use any more: RFC 6749 5.2, `OpenID` Connect Core
/// 3.1.2.6, and vendors that answer 200.
const DEAD_CODES: [&str; 6] = [
    "invalid_grant",
    "bad_refresh_token",
    "invalid_refresh_token",
    "login_required",
    "interaction_required",
    "consent_required",
];

impl RefreshTokenState {
    pub(super) fn after(error: &AuthenticationError) -> Self {
        use AuthenticationErrorKind::Refused;

        // Before the code: an overloaded gateway cannot judge a refresh token, whatever code its body quotes.
        if error.is_unsent() || error.is_postponed() {
            return Self::Unused;
        }
        let is_dead = error.oauth_error_code().is_some_and(|code| DEAD_CODES.contains(&code.as_str()));
        match error.status() {
            Some(status) if is_dead && (status.is_client_error() || status.is_success()) => Self::Dead,
            Some(status) if status.is_client_error() => Self::Refused,
            // A user's own provider may set a code without a status.
            None if is_dead => Self::Dead,
            None if matches!(error.kind(), Refused(code) if !is_server_failure(code)) => Self::Refused,
            // A server error, a redirect, a success without a token, no answer: the call may have been
            // processed.
            _ => Self::InDoubt,
        }
    }
}

fn is_server_failure(code: &OAuthErrorCode) -> bool {
    matches!(code.as_str(), "server_error" | "temporarily_unavailable")
}

/// The limits of the two lists of a [`RefreshHistory`]. A manager rarely has more than one refresh token that is not
/// replaced; a storage may bring back a replaced one after several renewals, after a failover for example.
const MAX_SENT: usize = 4;
const MAX_REPLACED: usize = 16;

/// The refresh tokens that this manager has sent, by their own ids, not by those of their access tokens.
#[derive(Default)]
pub(crate) struct RefreshHistory {
    /// The ones that may be sent again, the latest last.
    sent: VecDeque<SentToken>,
    /// The ones that the server has replaced.
    replaced: VecDeque<TokenId>,
}

struct SentToken {
    id: TokenId,
    /// How many calls with it may have been processed.
    calls_in_doubt: u32,
    /// When the last call began, in monotonic milliseconds, once that call has ended; `None` while it is in progress.
    ended_call_begun_at: Option<i64>,
    /// When the last call began, in monotonic milliseconds, whether or not it has ended.
    begun_at: i64,
    /// Whether an attempt has ended because of `Retry-After`.
    has_been_patient: bool,
    /// Whether the server has refused the full grant that replaced a refresh with this token.
    is_full_grant_refused: bool,
}

impl RefreshHistory {
    /// Records that this refresh token is about to be sent, and so puts it in doubt. Crash: the flight may be
    /// dropped with its runtime during the call, and then `end_call` never runs.
    pub(super) fn begin_call(&mut self, id: TokenId, now: ClockReading) {
        let sent = self.sent(id);
        sent.calls_in_doubt += 1;
        sent.begun_at = now.monotonic_millis();
        sent.ended_call_begun_at = None;
    }

    /// Notes how the call that was begun last has failed. Returns the calls that are in doubt.
    pub(super) fn end_call(&mut self, id: TokenId, state: RefreshTokenState) -> u32 {
        let sent = self.sent(id);
        sent.ended_call_begun_at = Some(sent.begun_at);
        if matches!(state, RefreshTokenState::Unused | RefreshTokenState::Refused) {
            sent.calls_in_doubt = sent.calls_in_doubt.saturating_sub(1);
        }
        sent.calls_in_doubt
    }

    /// Records a successful call: `sent` is the refresh token that the call carried, `given` the one that
    /// came back. Race: a detached flight may be sending another refresh token, so the entries of others
    /// stay.
    pub(super) fn succeed(&mut self, sent: Option<TokenId>, given: Option<TokenId>) {
        self.sent.retain(|known| Some(known.id) != sent && Some(known.id) != given);
        self.replaced.retain(|replaced| Some(*replaced) != given);
        if let Some(sent) = sent.filter(|sent| given.is_some_and(|given| given != *sent)) {
            self.replaced.push_back(sent);
            if self.replaced.len() > MAX_REPLACED {
                self.replaced.pop_front();
            }
        }
    }

    /// Whether a call with this refresh token may have been processed.
    pub(super) fn is_in_doubt(&self, id: TokenId) -> bool {
        self.was_replaced(id) || self.find(id).is_some_and(|sent| sent.calls_in_doubt > 0)
    }

    /// Whether the server has given another refresh token in place of this one.
    pub(super) fn was_replaced(&self, id: TokenId) -> bool {
        self.replaced.contains(&id)
    }

    /// When our last call with this refresh token began, in monotonic milliseconds, if that call is over.
    pub(super) fn ended_call_begun_at(&self, id: TokenId) -> Option<i64> {
        self.find(id)?.ended_call_begun_at
    }

    /// Says, once per refresh token, that the attempt should end because of `Retry-After`. A second attempt
    /// goes on to the full grant.
    pub(super) fn take_patience(&mut self, id: TokenId) -> bool {
        !std::mem::replace(&mut self.sent(id).has_been_patient, true)
    }

    /// Notes that the full grant was refused, so that this refresh token is the last way to a token.
    pub(super) fn refuse_full_grant(&mut self, id: TokenId) {
        self.sent(id).is_full_grant_refused = true;
    }

    /// Whether the full grant was refused while this refresh token was in doubt.
    pub(super) fn is_full_grant_refused(&self, id: TokenId) -> bool {
        self.find(id).is_some_and(|sent| sent.is_full_grant_refused)
    }

    fn find(&self, id: TokenId) -> Option<&SentToken> {
        self.sent.iter().find(|sent| sent.id == id)
    }

    fn sent(&mut self, id: TokenId) -> &mut SentToken {
        let place = self.sent.iter().position(|sent| sent.id == id).unwrap_or_else(|| {
            if self.sent.len() == MAX_SENT {
                self.sent.pop_front();
            }
            self.sent.push_back(SentToken {
                id,
                calls_in_doubt: 0,
                ended_call_begun_at: None,
                begun_at: 0,
                has_been_patient: false,
                is_full_grant_refused: false,
            });
            self.sent.len() - 1
        });
        &mut self.sent[place]
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn error(kind: AuthenticationErrorKind, status: Option<u16>) -> AuthenticationError {
        let error = AuthenticationError::new("s", kind);
        status.map_or(error.clone(), |status| error.with_status(StatusCode::from_u16(status).unwrap()))
    }

    #[test]
    fn inv23_the_table_of_states() {
        use AuthenticationErrorKind::{
            Configuration, Connect, InvalidResponse, Other, Panicked, Refused, Status, Timeout,
        };
        use RefreshTokenState::{Dead, InDoubt, Unused};

        let refused = |code: &str| Refused(OAuthErrorCode::from(code));
        for (kind, status, state) in [
            (refused("invalid_grant"), Some(400), Dead),
            (refused("invalid_grant"), Some(401), Dead),
            (refused("bad_refresh_token"), Some(200), Dead),
            (refused("invalid_grant"), None, Dead),
            (refused("invalid_client"), Some(401), RefreshTokenState::Refused),
            (refused("invalid_scope"), Some(400), RefreshTokenState::Refused),
            (Status, Some(404), RefreshTokenState::Refused),
            (refused("invalid_client"), None, RefreshTokenState::Refused),
            (refused("invalid_grant"), Some(408), Unused),
            (refused("invalid_grant"), Some(425), Unused),
            (refused("invalid_grant"), Some(429), Unused),
            (refused("invalid_grant"), Some(503), Unused),
            (Status, Some(503), Unused),
            (Configuration, None, Unused),
            (refused("invalid_grant"), Some(500), InDoubt),
            (Status, Some(500), InDoubt),
            (Status, Some(502), InDoubt),
            (Status, Some(504), InDoubt),
            (Status, Some(302), InDoubt),
            (InvalidResponse, Some(200), InDoubt),
            (refused("server_error"), None, InDoubt),
            (Connect, None, InDoubt),
            (Timeout, None, InDoubt),
            (Panicked, None, InDoubt),
            (Other, None, InDoubt),
        ] {
            let error = error(kind, status);
            assert_eq!(RefreshTokenState::after(&error), state, "{error:?}");
        }
        let unsent = error(Connect, None).with_nothing_sent();
        assert_eq!(RefreshTokenState::after(&unsent), Unused);
    }

    fn at(millis: i64) -> ClockReading {
        ClockReading::from_millis(0, millis)
    }

    #[test]
    fn inv25_what_was_sent_is_in_doubt_until_an_answer_says_otherwise() {
        let (one, other) = (TokenId::of("one"), TokenId::of("other"));
        let mut history = RefreshHistory::default();
        assert!(!history.is_in_doubt(one));
        history.begin_call(one, at(7));
        assert!(history.is_in_doubt(one) && !history.is_in_doubt(other));
        assert_eq!(history.ended_call_begun_at(one), None);
        assert_eq!(history.end_call(one, RefreshTokenState::Unused), 0);
        assert!(!history.is_in_doubt(one));
        assert_eq!(history.ended_call_begun_at(one), Some(7));
        history.begin_call(one, at(8));
        assert_eq!(history.end_call(one, RefreshTokenState::Refused), 0);
        for calls in 1..3 {
            history.begin_call(one, at(9));
            assert_eq!(history.end_call(one, RefreshTokenState::InDoubt), calls);
        }
        // The outcome of one refresh token says nothing about the other one.
        history.begin_call(other, at(10));
        history.succeed(Some(other), Some(TokenId::of("next")));
        assert!(history.is_in_doubt(one));
        assert!(history.was_replaced(other) && history.is_in_doubt(other));
        // The refresh token works after all, and stays: the server does not rotate.
        history.succeed(Some(one), Some(one));
        assert!(!history.is_in_doubt(one) && !history.was_replaced(one));
    }

    #[test]
    fn inv25_what_is_remembered_is_bounded() {
        let mut history = RefreshHistory::default();
        for number in 0..100 {
            let id = |number: i32| TokenId::of(&number.to_string());
            history.begin_call(id(number), at(0));
            history.begin_call(id(-number), at(0));
            history.succeed(Some(id(number)), Some(id(number + 1)));
        }
        assert!(history.sent.len() <= MAX_SENT && history.replaced.len() <= MAX_REPLACED);
    }

    #[test]
    fn inv23_patience_is_had_once_per_refresh_token() {
        let mut history = RefreshHistory::default();
        assert!(history.take_patience(TokenId::of("one")));
        assert!(!history.take_patience(TokenId::of("one")));
        assert!(history.take_patience(TokenId::of("other")));
    }
}
