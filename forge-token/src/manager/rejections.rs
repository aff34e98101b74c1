use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use forge_core::{ClockReading, Credential, TokenId};

/// The tokens that APIs have rejected, and how often they were renewed. It keeps an API that always answers 401 from
/// causing a token call per request, and a rejected token from coming back with a storage that has lost its
/// replacement.
pub(crate) struct Rejections {
    /// Renewals in a row that no accepted request followed.
    useless: u32,
    /// When a token that no API has accepted may be renewed again, in monotonic milliseconds.
    not_before: i64,
    /// A token bucket: each renewal moves this ahead by `INTERVAL_MILLIS`, in monotonic milliseconds. How far it lies
    /// ahead of the present is how many renewals there were lately.
    booked_until: i64,
    /// The credentials that the manager had since the last renewal, as long as none was accepted.
    untried: Vec<Arc<Credential>>,
    /// Whether an API has accepted one of the credentials since the last renewal.
    is_helpful: bool,
    /// The token that the slot no longer hands out because it may be renewed, until its renewal is counted.
    owed: Option<TokenId>,
    /// The tokens that were rejected last, the newest at the end.
    seen: VecDeque<TokenId>,
}

/// The back-off between renewals that did not help: short at first, since the API may not know the new token yet, and at
/// most as long as callers may wait after the API is mended.
const INITIAL_DELAY_MILLIS: i64 = 1_000;
const MAX_DELAY_MILLIS: i64 = 60_000;
/// The rate of renewals that help: one a second, and ten at once. It bounds the token calls that one path
/// costs if it answers 401 among others that do not.
const INTERVAL_MILLIS: i64 = 1_000;
const BURST_MILLIS: i64 = 10 * INTERVAL_MILLIS;
/// A storage can bring back a token that was rejected several renewals ago, after a failover for example. More than the
/// last few are not worth their memory.
const MAX_SEEN: usize = 16;
/// Requests may still be under way with the last few tokens, and an API may accept one of them.
const MAX_UNTRIED: usize = 4;

impl Rejections {
    pub(crate) fn new() -> Self {
        Self {
            useless: 0,
            not_before: i64::MIN,
            booked_until: i64::MIN,
            untried: Vec::new(),
            is_helpful: false,
            owed: None,
            seen: VecDeque::new(),
        }
    }

    /// Begins the renewal of a token that was just rejected: counts it and returns `true`, unless renewals back off. A
    /// renewal may begin sooner if an API ever accepted the rejected token, or the token of the last renewal: the storage
    /// may have lost the latter and returned an older one, which was rejected now.
    ///
    /// Attack: the rate of renewals is bounded even if they help. Otherwise one path that answers 401 to all callers, among
    /// others that do not, would cost a token call per request.
    pub(crate) fn try_begin_renewal(&mut self, was_accepted: bool, now: ClockReading) -> bool {
        let is_permitted = self.renewal_in(was_accepted, now).is_zero();
        if is_permitted {
            self.count(was_accepted, now);
        }
        is_permitted
    }

    /// How long until [`try_begin_renewal`](Self::try_begin_renewal) returns `true`, if nothing is renewed or accepted
    /// meanwhile.
    pub(crate) fn renewal_in(&self, was_accepted: bool, now: ClockReading) -> Duration {
        let now = now.monotonic_millis();
        let is_helpful = was_accepted || self.was_helpful();
        let backed_off_until = if is_helpful { i64::MIN } else { self.not_before };
        let burst_ends = self.booked_until.saturating_add(INTERVAL_MILLIS).saturating_sub(BURST_MILLIS);
        let left = backed_off_until.max(burst_ends).saturating_sub(now).max(0);
        Duration::from_millis(left.unsigned_abs())
    }

    /// Remembers that the slot stopped handing out this token, so that its renewal counts when it begins. It does
    /// not count now: by then the storage may hold another token, and there is no renewal.
    pub(crate) fn owe_renewal(&mut self, id: TokenId) {
        self.owed = Some(id);
    }

    /// Counts the renewal of this token, which begins now, if it is not counted yet.
    pub(crate) fn count_if_owed(&mut self, id: TokenId, was_accepted: bool, now: ClockReading) {
        if self.owed == Some(id) {
            self.count(was_accepted, now);
        }
    }

    fn count(&mut self, was_accepted: bool, now: ClockReading) {
        let was_accepted = was_accepted || self.was_helpful();
        let now = now.monotonic_millis();
        self.owed = None;
        self.booked_until = self.booked_until.max(now).saturating_add(INTERVAL_MILLIS);
        if was_accepted {
            self.useless = 0;
        }
        let delay = INITIAL_DELAY_MILLIS << self.useless.min(6);
        self.not_before = now.saturating_add(delay.min(MAX_DELAY_MILLIS));
        self.useless = self.useless.saturating_add(1);
        self.is_helpful = false;
        self.untried = Vec::new();
    }

    /// The manager has this credential from now on. Requests may still be under way with those before it,
    /// so the last few are kept until the next renewal.
    pub(crate) fn track_credential(&mut self, credential: &Arc<Credential>) {
        self.owed = None;
        if self.useless == 0 {
            return;
        }
        self.is_helpful = self.was_helpful();
        if self.is_helpful {
            self.untried = Vec::new();
            return;
        }
        if self.untried.len() == MAX_UNTRIED {
            self.untried.remove(0);
        }
        self.untried.push(Arc::clone(credential));
    }

    fn was_helpful(&self) -> bool {
        self.is_helpful || self.untried.iter().any(|credential| credential.was_accepted())
    }

    /// Remembers that this token was rejected. Of more than sixteen, the oldest are forgotten.
    pub(crate) fn remember(&mut self, id: TokenId) {
        self.forget(id);
        if self.seen.len() == MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(id);
    }

    /// The issuer has handed out this token anew.
    pub(crate) fn forget(&mut self, id: TokenId) {
        self.seen.retain(|seen| *seen != id);
    }

    pub(crate) fn has_seen(&self, id: TokenId) -> bool {
        self.seen.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use forge_core::TokenData;

    use super::*;

    fn at(seconds: i64) -> ClockReading {
        ClockReading::from_millis(0, seconds * 1_000)
    }

    #[test]
    fn inv11_useless_renewals_back_off_from_1_to_60_seconds() {
        let mut rejections = Rejections::new();
        let mut permitted = Vec::new();
        for second in 0..300 {
            if rejections.try_begin_renewal(false, at(second)) {
                permitted.push(second);
            }
        }
        assert_eq!(permitted, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn inv11_a_renewal_that_was_of_use_ends_the_back_off() {
        let mut rejections = Rejections::new();
        assert!(rejections.try_begin_renewal(false, at(0)));
        assert!(!rejections.try_begin_renewal(false, at(0)));
        assert!(rejections.try_begin_renewal(true, at(0)));
        assert!(!rejections.try_begin_renewal(false, at(0)));
        assert!(rejections.try_begin_renewal(false, at(1)));
    }

    #[test]
    fn inv11_renewal_in_is_exact() {
        for was_accepted in [false, true] {
            let mut rejections = Rejections::new();
            for _ in 0..40 {
                let mut now = at(0);
                while !rejections.renewal_in(was_accepted, now).is_zero() {
                    let left = rejections.renewal_in(was_accepted, now);
                    let after =
                        |left: Duration| ClockReading::from_millis(0, now.monotonic_millis() + millis(left));
                    assert!(!rejections.try_begin_renewal(
                        was_accepted,
                        after(left.saturating_sub(Duration::from_millis(1)))
                    ));
                    now = after(left);
                }
                assert!(rejections.try_begin_renewal(was_accepted, now));
            }
        }
    }

    fn millis(duration: Duration) -> i64 {
        i64::try_from(duration.as_millis()).unwrap()
    }

    #[test]
    fn inv11_an_owed_renewal_counts_once_and_only_for_its_token() {
        let (one, other) = (TokenId::of("1"), TokenId::of("2"));
        let mut rejections = Rejections::new();
        rejections.owe_renewal(one);
        rejections.count_if_owed(other, false, at(0));
        assert!(rejections.renewal_in(false, at(0)).is_zero());
        rejections.count_if_owed(one, false, at(0));
        assert_eq!(rejections.renewal_in(false, at(0)), Duration::from_secs(1));
        rejections.count_if_owed(one, false, at(0));
        assert_eq!(rejections.renewal_in(false, at(0)), Duration::from_secs(1));
    }

    #[test]
    fn inv11_renewals_of_use_are_bounded_too() {
        let mut rejections = Rejections::new();
        let mut permitted =
            |second| (0..100).filter(|_| rejections.try_begin_renewal(true, at(second))).count();
        assert_eq!(permitted(0), 10);
        assert_eq!(permitted(0), 0);
        assert_eq!(permitted(3), 3);
        assert_eq!(permitted(1_000), 10);
    }

    #[test]
    fn inv11_what_came_after_a_renewal_and_was_accepted_counts_though_another_token_is_rejected() {
        let credential = || Arc::new(Credential::new(TokenData::new("t")).unwrap());
        for others in [0, 1, MAX_UNTRIED - 1] {
            let mut rejections = Rejections::new();
            assert!(rejections.try_begin_renewal(false, at(0)));
            let renewed = credential();
            rejections.track_credential(&renewed);
            (0..others).for_each(|_| rejections.track_credential(&credential()));
            assert!(!rejections.try_begin_renewal(false, at(0)));
            renewed.mark_accepted();
            assert!(rejections.try_begin_renewal(false, at(0)));
            assert!(!rejections.try_begin_renewal(false, at(0)), "once");
        }
    }

    #[test]
    fn inv11_no_more_credentials_are_kept_than_needed() {
        let credential = || Arc::new(Credential::new(TokenData::new("t")).unwrap());
        let mut rejections = Rejections::new();
        rejections.track_credential(&credential());
        assert!(rejections.untried.is_empty(), "nothing was renewed yet");
        assert!(rejections.try_begin_renewal(false, at(0)));
        (0..100).for_each(|_| rejections.track_credential(&credential()));
        assert_eq!(rejections.untried.len(), MAX_UNTRIED);
        rejections.untried[0].mark_accepted();
        rejections.track_credential(&credential());
        assert!(rejections.untried.is_empty() && rejections.was_helpful());
    }

    #[test]
    fn inv11_the_last_sixteen_rejected_tokens_are_remembered() {
        let id = |number: usize| TokenId::of(&number.to_string());
        let mut rejections = Rejections::new();
        (0..MAX_SEEN).for_each(|number| rejections.remember(id(number)));
        // The same token once more takes no second place.
        rejections.remember(id(0));
        rejections.remember(id(MAX_SEEN));
        let seen: Vec<_> = (0..=MAX_SEEN).filter(|number| rejections.has_seen(id(*number))).collect();
        assert_eq!(seen, [0].into_iter().chain(2..=MAX_SEEN).collect::<Vec<_>>());
        rejections.forget(id(0));
        assert!(!rejections.has_seen(id(0)));
    }
}
