use forge_core::Moment;

/// Keeps an API that always answers 401 from causing a token call per request.
pub(crate) struct Rejections {
    /// Renewals in a row that no accepted request followed.
    useless: u32,
    /// No renewal of a token that was of no use before this monotonic time, in milliseconds.
    not_before: i64,
    /// When the renewals so far would be over at one a second: how far this lies ahead is how many
    /// there were lately.
    booked_until: i64,
}

const FIRST_DELAY_MILLIS: i64 = 1_000;
const LONGEST_DELAY_MILLIS: i64 = 60_000;
/// Ten at once, then one a second.
const INTERVAL_MILLIS: i64 = 1_000;
const BURST_MILLIS: i64 = 10 * INTERVAL_MILLIS;

impl Rejections {
    pub(crate) fn new() -> Self {
        Self { useless: 0, not_before: i64::MIN, booked_until: i64::MIN }
    }

    /// Whether a token that was just rejected may be renewed, given whether it ever was of use.
    /// Counts the renewal if so.
    ///
    /// Even tokens that are of use are renewed at a bounded rate: else one path that answers 401 to
    /// everybody, among others that do not, would cost a token call per request.
    pub(crate) fn permit(&mut self, was_accepted: bool, now: Moment) -> bool {
        let now = now.monotonic_millis();
        let booked_until = self.booked_until.max(now).saturating_add(INTERVAL_MILLIS);
        if (!was_accepted && now < self.not_before) || booked_until.saturating_sub(now) > BURST_MILLIS {
            return false;
        }
        self.booked_until = booked_until;
        if was_accepted {
            self.useless = 0;
        }
        let delay = FIRST_DELAY_MILLIS << self.useless.min(6);
        self.not_before = now.saturating_add(delay.min(LONGEST_DELAY_MILLIS));
        self.useless = self.useless.saturating_add(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Moment {
        Moment::from_millis(0, seconds * 1_000)
    }

    #[test]
    fn inv11_useless_renewals_back_off_from_1_to_60_seconds() {
        let mut rejections = Rejections::new();
        let mut permitted = Vec::new();
        for second in 0..300 {
            if rejections.permit(false, at(second)) {
                permitted.push(second);
            }
        }
        assert_eq!(permitted, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
    }

    #[test]
    fn inv11_a_renewal_that_was_of_use_ends_the_back_off() {
        let mut rejections = Rejections::new();
        assert!(rejections.permit(false, at(0)));
        assert!(!rejections.permit(false, at(0)));
        assert!(rejections.permit(true, at(0)));
        assert!(!rejections.permit(false, at(0)));
        assert!(rejections.permit(false, at(1)));
    }

    #[test]
    fn inv11_renewals_of_use_are_bounded_too() {
        let mut rejections = Rejections::new();
        let mut permitted = |second| (0..100).filter(|_| rejections.permit(true, at(second))).count();
        assert_eq!(permitted(0), 10);
        assert_eq!(permitted(0), 0);
        assert_eq!(permitted(3), 3);
        assert_eq!(permitted(1_000), 10);
    }
}
