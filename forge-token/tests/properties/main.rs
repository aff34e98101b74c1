//! Properties of managers and providers that must hold for all inputs, tested with proptest.

#![allow(clippy::expect_used)]

mod cache_keys;
mod events;
mod extremes;
mod lifetimes;
mod simulation;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::test_runner::RngSeed;

/// Each plain run tries the same random inputs. A long run tries new ones.
pub(crate) fn seed() -> RngSeed {
    if std::env::var_os("FORGE_TEST_LONG").is_some() { RngSeed::Random } else { RngSeed::Fixed(20_261_121) }
}

/// Whether the future is ready when it is first asked.
pub(crate) fn at_once<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
