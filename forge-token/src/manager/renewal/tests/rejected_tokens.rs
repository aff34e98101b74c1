//! How a token that an API has rejected is renewed.

use super::*;

#[test]
fn inv11_new_credentials_do_not_skip_the_permission_to_renew_a_rejected_token() {
    let scenario = Scenario {
        goal: after_rejection(),
        cool_down: CoolDownAnswer::AfterPermanentFailure,
        has_new_credentials: true,
        ..Scenario::default()
    };
    let next = scenario.actions_after(Action::CheckNewCredentials)[0];
    assert_eq!(next, Action::RejectCachedToken(cached_id()));
}

#[test]
fn inv11_a_rejected_token_is_deleted_unless_a_refresh_can_replace_it() {
    let other = TokenId::of("other");
    for (id, has_refresh_token, is_deleted) in
        [(cached_id(), true, false), (cached_id(), false, true), (other, true, true), (other, false, true)]
    {
        let candidate = Some(CandidateFacts { id, has_refresh_token, is_shared: true });
        let scenario = Scenario { goal: after_rejection(), candidate, ..Scenario::default() };
        let next = scenario.actions_after(Action::SelectCandidate)[0];
        let deletion = Action::DeleteRejectedToken(cached_id());
        assert_eq!(next, if is_deleted { deletion } else { Action::BeginRenewal });
    }
}

#[test]
fn inv11_a_rejected_token_is_renewed_unless_renewals_back_off() {
    let paused = Scenario { goal: after_rejection(), is_renewal_permitted: false, ..Scenario::default() };
    assert_eq!(paused.ending(), Ending::RenewalPaused(cached_id()));
    let deletion = Action::DeleteRejectedToken(cached_id());
    let without = Scenario { goal: after_rejection(), ..Scenario::default() };
    assert!(without.actions().contains(&deletion));
    // With the record the manager would delete its refresh token.
    let with = Scenario { goal: after_rejection(), ..Scenario::with_shared_refresh_token() };
    assert!(!with.actions().contains(&deletion));
}

#[test]
fn inv11_the_rejected_token_in_the_slot_does_not_end_its_renewal() {
    let rejected = Scenario { goal: after_rejection(), slot_hit: Some(cached_id()), ..Scenario::default() };
    assert_eq!(rejected.ending(), Ending::Issued(GrantKind::Full));
    let other = Some(TokenId::of("other"));
    let replaced = Scenario { goal: after_rejection(), slot_hit: other, ..Scenario::default() };
    assert_eq!(replaced.actions(), [Action::CheckSlot, Action::Finish(Ending::Adopted)]);
}
