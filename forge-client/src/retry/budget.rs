use std::sync::atomic::{AtomicU32, Ordering};

/// A token bucket that bounds the retries of a client, whatever its strategy.
///
/// The bucket begins with 500 tokens, and holds no more. A retry costs 5; a call that ends well returns 1. So in any
/// stretch of time there are at most 100 retries more than a fifth of the calls, whatever mixture of responses the
/// server gives.
///
/// The numbers are those of the AWS SDKs' standard mode. That mode returns a retry's cost when the retry succeeds, so
/// a server that fails every other request gets twice the traffic, for ever. This bucket does not do so.
#[derive(Debug)]
pub(super) struct RetryBudget(AtomicU32);

const CAPACITY: u32 = 500;
const RETRY_COST: u32 = 5;
const SUCCESS_REFUND: u32 = 1;

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(CAPACITY))
    }

    /// Takes the cost of a retry. Returns whether the bucket held it.
    pub(super) fn try_withdraw(&self) -> bool {
        // No other memory depends on this number, so `Relaxed` is enough.
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |tokens| tokens.checked_sub(RETRY_COST))
            .is_ok()
    }

    /// Returns a token after a call that ended well.
    pub(super) fn deposit(&self) {
        let more = |tokens: u32| (tokens < CAPACITY).then(|| (tokens + SUCCESS_REFUND).min(CAPACITY));
        // Speed: a full bucket, the usual case, is not written to, so its cache line stays shared.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes one call to a server with these answers (`true`: a success). The strategy wants up to
    /// `max_retries` retries. Returns the number of requests.
    fn call(budget: &RetryBudget, max_retries: u32, answers: &mut impl Iterator<Item = bool>) -> u32 {
        let mut sent = 0;
        loop {
            sent += 1;
            if answers.next().unwrap() {
                budget.deposit();
                return sent;
            }
            if sent > max_retries || !budget.try_withdraw() {
                return sent;
            }
        }
    }

    /// The maximum number of requests of `calls` calls in a row.
    fn bound(calls: usize) -> u32 {
        let calls = u32::try_from(calls).unwrap();
        calls + calls / (RETRY_COST / SUCCESS_REFUND) + CAPACITY / RETRY_COST
    }

    fn sends(answers: impl IntoIterator<Item = bool>, calls: usize, max_retries: u32) -> Vec<u32> {
        let budget = RetryBudget::new();
        let mut answers = answers.into_iter();
        (0..calls).map(|_| call(&budget, max_retries, &mut answers)).collect()
    }

    #[test]
    fn inv21_a_dead_server_sees_the_allowance_and_then_each_call_once() {
        let sent = sends(std::iter::repeat(false), 1_000, 3);
        assert_eq!(sent.iter().sum::<u32>(), 1_100);
        assert!(sent[..33].iter().all(|sent| *sent == 4), "within the allowance all retries are made");
        assert!(sent[34..].iter().all(|sent| *sent == 1));
    }

    #[test]
    fn inv21_a_server_that_fails_every_other_time_sees_at_most_1_2_times_the_calls() {
        let sent = sends([false, true].into_iter().cycle(), 10_000, 3);
        let after = &sent[1_000..];
        assert!(after.iter().sum::<u32>() <= 10_800 + 1, "{}", after.iter().sum::<u32>());
    }

    #[test]
    fn what_was_spent_comes_back_with_calls_that_end_well_and_no_further() {
        let budget = RetryBudget::new();
        while budget.try_withdraw() {}
        for _ in 0..RETRY_COST - 1 {
            budget.deposit();
            assert!(!budget.try_withdraw());
        }
        budget.deposit();
        assert!(budget.try_withdraw());
        for _ in 0..10 * CAPACITY {
            budget.deposit();
        }
        assert_eq!((0..1_000).take_while(|_| budget.try_withdraw()).count(), 100);
    }

    proptest! {
        /// Failures come in stretches, as in practice. In the good times in between the bucket fills.
        #[test]
        fn inv21_no_mixture_of_answers_gets_more_than_a_fifth_on_top_of_the_allowance(
            stretches in prop::collection::vec((0..=100_u32, 1..400_usize), 1..20),
            max_retries in 0..10_u32,
            seed: u64,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let budget = RetryBudget::new();
            let mut sent = Vec::new();
            for (percent_good, calls) in stretches {
                let mut answers = std::iter::repeat_with(|| random.u32(0..100) < percent_good);
                sent.extend((0..calls).map(|_| call(&budget, max_retries, &mut answers)));
            }
            // The bound holds for every stretch of calls, not only for all of them.
            let mut sums = vec![0];
            sums.extend(sent.iter().scan(0, |sum, sent| { *sum += sent; Some(*sum) }));
            for from in (0..sent.len()).step_by(7) {
                for to in (from + 1..=sent.len()).step_by(3) {
                    prop_assert!(sums[to] - sums[from] <= bound(to - from));
                }
            }
        }

        #[test]
        fn inv21_calls_that_overlap_draw_on_one_bucket(
            answers in prop::collection::vec(any::<bool>(), 1..5_000),
        ) {
            // There are always 20 calls under way. Each answer belongs to one of them, which then ends or
            // retries.
            let budget = RetryBudget::new();
            let (mut calls, mut requests) = (20_usize, 20_u32);
            for is_good in answers {
                if is_good {
                    budget.deposit();
                } else if budget.try_withdraw() {
                    requests += 1;
                    continue;
                }
                calls += 1;
                requests += 1;
            }
            prop_assert!(requests <= bound(calls));
        }
    }
}
