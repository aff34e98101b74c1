//! Random numbers for names and jitter, drawn from the system each time.
//!
//! A fork, or a snapshot of the machine, copies a generator that lives in the process (`RandomState`, `fastrand`). Both
//! copies then draw the same numbers, so two processes would take one lease for their own, or would retry at the same
//! moment. The system's generator gives them different numbers. So this module keeps no state and asks the system each
//! time.

use std::hash::{BuildHasher, RandomState};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// 128 random bits, for a name that no other process on any machine uses.
#[must_use]
pub fn random_bits() -> u128 {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u128::from_ne_bytes(bytes),
        Err(_) => substitute(),
    }
}

/// A random number in `0.0..1.0`, for jitter that differs between processes.
#[must_use]
pub fn random_fraction() -> f64 {
    /// As many bits as the mantissa holds.
    const BITS: u32 = 53;
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)] // 53 bits fit
    let fraction = (random_bits() >> (u128::BITS - BITS)) as u64 as f64 / (1_u64 << BITS) as f64;
    fraction
}

/// The fallback if the system gives no random numbers, as in a sandbox that blocks the call. The numbers differ between
/// processes, and that is enough: no caller needs numbers that are hard to guess.
fn substitute() -> u128 {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unique = (process::id(), since.as_nanos(), DRAWN.fetch_add(1, Ordering::Relaxed));
    let keys = RandomState::new();
    let half = |which: u8| u128::from(keys.hash_one((which, unique)));
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn inv32_no_number_is_drawn_twice() {
        for draw in [random_bits, substitute] {
            let drawn: HashSet<u128> = std::iter::repeat_with(draw).take(1_000).collect();
            assert_eq!(drawn.len(), 1_000);
        }
    }

    #[test]
    fn fractions_fill_the_range_from_0_to_1() {
        let drawn: Vec<f64> = std::iter::repeat_with(random_fraction).take(10_000).collect();
        assert!(drawn.iter().all(|drawn| (0.0..1.0).contains(drawn)));
        for tenth in 0..10 {
            let tenth = f64::from(tenth) / 10.0;
            assert!(drawn.iter().any(|drawn| (tenth..tenth + 0.1).contains(drawn)), "{tenth}");
        }
    }
}
