//! How a cool-down ends a renewal.

use super::*;

#[test]
fn inv08_a_cool_down_ends_the_renewal_before_any_call() {
    let with = |goal, cool_down, has_new_credentials| {
        Scenario { goal, cool_down, has_new_credentials, ..Scenario::default() }.ending()
    };
    let issued = Ending::Issued(GrantKind::Full);
    let (transient, permanent) = (CoolDownAnswer::AfterOtherFailure, CoolDownAnswer::AfterPermanentFailure);
    assert_eq!(with(RenewalGoal::VALID, transient, false), Ending::CoolingDown);
    assert_eq!(with(RenewalGoal::VALID, transient, true), Ending::CoolingDown);
    assert_eq!(with(RenewalGoal::VALID, permanent, false), Ending::CoolingDown);
    assert_eq!(with(RenewalGoal::VALID, permanent, true), issued);
    assert_eq!(with(RenewalGoal::NEW, transient, false), issued);
}

#[test]
fn inv08_the_cool_down_of_another_process_ends_the_renewal() {
    let leases = vec![LeaseAnswer::CoolingDown];
    assert_eq!(Scenario { has_leases: true, leases, ..Scenario::default() }.ending(), Ending::CoolingDown);
    for (goal, has_waited_for_others, policy) in [
        (RenewalGoal::VALID, false, CoolDownPolicy::Respect),
        (RenewalGoal::VALID, true, CoolDownPolicy::Ignore),
        (RenewalGoal::NEW, false, CoolDownPolicy::Ignore),
    ] {
        let scenario = Scenario { goal, has_leases: true, has_waited_for_others, ..Scenario::default() };
        assert_eq!(scenario.actions_after(Action::CheckLease)[0], Action::AcquireLease(policy));
    }
}
