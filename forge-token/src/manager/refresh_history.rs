//! What became of the refresh token that this manager has sent.

use forge_core::{AuthenticationError, AuthenticationErrorKind, OAuthErrorCode, TokenId};

/// What a failed call says of the refresh token that was sent with it (invariant 23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefreshTokenState {
    /// The server knows it no more.
    Dead,
    /// The server refused the call, for another reason.
    Refused,
    /// The server did not process the call.
    Unused,
    /// The server may have replaced it.
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

        // Before the code is looked at: a gateway that is overloaded passes no verdict on a token.
        if error.is_unsent() || error.is_postponed() {
            return Self::Unused;
        }
        let is_dead = error.oauth_error_code().is_some_and(|code| DEAD_CODES.contains(&code.as_str()));
        match error.status() {
            Some(status) if is_dead && (status.is_client_error() || status.is_success()) => Self::Dead,
            Some(status) if status.is_client_error() => Self::Refused,
            // A provider of the user's own that says no status.
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

/// The refresh token that was sent last. A manager has one key, and so one refresh token at a time.
#[derive(Default)]
pub(crate) struct RefreshHistory {
    last: Option<Sent>,
}

struct Sent {
    /// The identity of the refresh token, not of the access token that it came with.
    id: TokenId,
    /// How many calls with it may have been processed.
    calls_in_doubt: u32,
    /// Whether an attempt ended because the server asked for patience.
    has_been_patient: bool,
}

impl RefreshHistory {
    /// Notes that this refresh token is about to be sent. From here on it is in doubt: the call may hang, its
    /// flight may be dropped with its runtime, and nobody is left to say what became of it.
    pub(super) fn begin_call(&mut self, id: TokenId) {
        self.sent(id).calls_in_doubt += 1;
    }

    /// Notes how the call that was begun last has failed. Returns the calls that are in doubt.
    pub(super) fn end_call(&mut self, id: TokenId, state: RefreshTokenState) -> u32 {
        let sent = self.sent(id);
        if matches!(state, RefreshTokenState::Unused | RefreshTokenState::Refused) {
            sent.calls_in_doubt = sent.calls_in_doubt.saturating_sub(1);
        }
        sent.calls_in_doubt
    }

    /// Whether a call with this refresh token may have been processed.
    pub(super) fn is_in_doubt(&self, id: TokenId) -> bool {
        self.last.as_ref().is_some_and(|sent| sent.id == id && sent.calls_in_doubt > 0)
    }

    /// Whether the manager ends this attempt because the server asked for patience. The second attempt goes
    /// on to the full grant instead.
    pub(super) fn take_patience(&mut self, id: TokenId) -> bool {
        !std::mem::replace(&mut self.sent(id).has_been_patient, true)
    }

    /// A new token ends all that is known of earlier refresh tokens.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    fn sent(&mut self, id: TokenId) -> &mut Sent {
        if self.last.as_ref().is_none_or(|sent| sent.id != id) {
            self.last = None;
        }
        self.last.get_or_insert(Sent { id, calls_in_doubt: 0, has_been_patient: false })
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

    #[test]
    fn inv25_what_was_sent_is_in_doubt_until_an_answer_says_otherwise() {
        let (one, other) = (TokenId::of("one"), TokenId::of("other"));
        let mut history = RefreshHistory::default();
        assert!(!history.is_in_doubt(one));
        history.begin_call(one);
        assert!(history.is_in_doubt(one) && !history.is_in_doubt(other));
        assert_eq!(history.end_call(one, RefreshTokenState::Unused), 0);
        assert!(!history.is_in_doubt(one));
        for calls in 1..3 {
            history.begin_call(one);
            assert_eq!(history.end_call(one, RefreshTokenState::InDoubt), calls);
        }
        history.begin_call(other);
        assert!(history.is_in_doubt(other) && !history.is_in_doubt(one));
        history.forget();
        assert!(!history.is_in_doubt(other));
    }

    #[test]
    fn inv23_patience_is_had_once_per_refresh_token() {
        let mut history = RefreshHistory::default();
        assert!(history.take_patience(TokenId::of("one")));
        assert!(!history.take_patience(TokenId::of("one")));
        assert!(history.take_patience(TokenId::of("other")));
    }
}
