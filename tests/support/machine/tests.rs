use std::cell::Cell;

use super::*;

/// Runs a case that fails at first, on a machine that stands still for so long each time. Returns the number
/// of runs.
async fn runs(failures: usize, stood_still: Duration) -> (usize, bool) {
    let runs = Cell::new(0);
    let case = || async {
        runs.set(runs.get() + 1);
        tokio::task::yield_now().await;
        assert!(runs.get() > failures, "fails on purpose");
    };
    let succeeds = caught(Box::pin(undisturbed_on(|_| stood_still, case))).await.is_ok();
    (runs.get(), succeeds)
}

#[tokio::test]
async fn what_fails_is_tried_again_only_when_the_machine_stood_still() {
    assert_eq!(runs(0, USUAL).await, (1, true));
    assert_eq!(runs(1, USUAL).await, (2, true));
    assert_eq!(runs(1, Duration::ZERO).await, (1, false));
    assert_eq!(runs(usize::MAX, USUAL).await, (ATTEMPTS, false));
}

#[test]
fn a_standstill_is_noted_from_when_it_ends() {
    let machine = Machine::watch();
    let begun = Instant::now();
    lock(&machine.delays).push((begun, USUAL * 2));
    assert!(machine.stood_still_since(begun) >= USUAL * 2);
}
