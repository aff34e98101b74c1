//! Tables for the state machine, and a test of all sequences of inputs. `every_sequence` has the rules that hold in
//! each of them.

mod cool_downs;
mod every_sequence;
mod rejected_tokens;

use forge_core::{CoolDownPolicy, MarkTakeover, TokenId, TokenRequirement};

use super::super::goal::RenewalGoal;
use super::super::refresh_history::RefreshTokenState::{self, Dead, InDoubt, Refused, Unused};
use super::action::{
    Action, CandidateFacts, CoolDownAnswer, Ending, Failure, GrantKind, Input, LeaseAnswer, MarkAnswer,
    RefreshObstacle, RenewalFacts, StorageAnswer,
};
use super::machine::RenewalMachine;

fn cached_id() -> TokenId {
    TokenId::of("cached")
}

fn ahead_of_expiry() -> RenewalGoal {
    RenewalGoal::Obtain(TokenRequirement::NewerThan(cached_id()))
}

fn after_rejection() -> RenewalGoal {
    RenewalGoal::Obtain(TokenRequirement::OtherThan(cached_id()))
}

/// The answers of storage, lease and provider in one renewal. By default there is no token yet, no lease, no cool-down,
/// and the full grant brings a token.
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own")]
struct Scenario {
    goal: RenewalGoal,
    refresh_when_contested: bool,
    slot_hit: Option<TokenId>,
    unkept: Option<GrantKind>,
    storage: StorageAnswer,
    cool_down: CoolDownAnswer,
    has_new_credentials: bool,
    is_renewal_permitted: bool,
    has_leases: bool,
    has_waited_for_others: bool,
    /// One after the other; the last one again and again.
    leases: Vec<LeaseAnswer>,
    storage_while_waiting: StorageAnswer,
    storage_under_lease: StorageAnswer,
    candidate: Option<CandidateFacts>,
    facts: RenewalFacts,
    first_mark: MarkAnswer,
    mark_after_takeover: MarkAnswer,
    refresh: Input,
    asks_for_delay: bool,
    /// Whether a usable token is cached once the refresh has failed; `None`: as when the renewal began.
    has_usable_token_after_refresh: Option<bool>,
    full_grant: Input,
    is_kept: bool,
    has_stand_in: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            goal: RenewalGoal::VALID,
            refresh_when_contested: false,
            slot_hit: None,
            unkept: None,
            storage: StorageAnswer::NotUsable,
            cool_down: CoolDownAnswer::NotActive,
            has_new_credentials: false,
            is_renewal_permitted: true,
            has_leases: false,
            has_waited_for_others: false,
            leases: vec![LeaseAnswer::Held],
            storage_while_waiting: StorageAnswer::NotUsable,
            storage_under_lease: StorageAnswer::NotUsable,
            candidate: None,
            facts: RenewalFacts {
                has_full_grant: true,
                is_in_doubt: false,
                is_full_grant_refused: false,
                has_usable_token: false,
            },
            first_mark: MarkAnswer::Ours,
            mark_after_takeover: MarkAnswer::Ours,
            refresh: Input::TokenIssued,
            asks_for_delay: false,
            has_usable_token_after_refresh: None,
            full_grant: Input::TokenIssued,
            is_kept: true,
            has_stand_in: false,
        }
    }
}

impl Scenario {
    /// The same, with a refresh token that other processes have too.
    fn with_shared_refresh_token() -> Self {
        let candidate = CandidateFacts { id: cached_id(), has_refresh_token: true, is_shared: true };
        Self { candidate: Some(candidate), ..Self::default() }
    }

    /// As a failed refresh leaves the refresh token in this state.
    fn after_failed_refresh(state: RefreshTokenState) -> Self {
        let refresh = Input::RefreshFailed { state, is_repeated_doubt: false };
        Self { refresh, ..Self::with_shared_refresh_token() }
    }

    fn answer(&mut self, action: Action) -> Input {
        match action {
            Action::CheckSlot => Input::SlotHit(self.slot_hit),
            Action::RecoverUnkeptToken => Input::UnkeptToken(self.unkept),
            Action::ReadStorage => Input::Storage(self.storage),
            Action::CheckCoolDown => Input::CoolDown(self.cool_down),
            Action::CheckNewCredentials => Input::NewCredentials(self.has_new_credentials),
            Action::RejectCachedToken(_) => Input::RenewalPermitted(self.is_renewal_permitted),
            Action::CheckLease => Input::LeaseTerms {
                has_leases: self.has_leases,
                has_waited_for_others: self.has_waited_for_others,
            },
            Action::AcquireLease(_) => {
                Input::Lease(if self.leases.len() > 1 { self.leases.remove(0) } else { self.leases[0] })
            }
            Action::ReadStorageWhileWaiting => Input::Storage(self.storage_while_waiting),
            Action::ReadStorageUnderLease => Input::Storage(self.storage_under_lease),
            Action::SelectCandidate => Input::Candidate(self.candidate),
            Action::BeginRenewal => Input::Begun(self.facts),
            Action::MarkRefreshToken(MarkTakeover::Always) => Input::Mark(self.mark_after_takeover),
            Action::MarkRefreshToken(_) => Input::Mark(self.first_mark),
            Action::CallRefresh => self.refresh,
            Action::AssessFallback => Input::Fallback {
                is_first_retry_after: self.asks_for_delay,
                has_usable_token: self.has_usable_token_after_refresh.unwrap_or(self.facts.has_usable_token),
            },
            Action::CallFullGrant(_) => self.full_grant,
            Action::KeepToken(_) if !self.is_kept => Input::NotKept,
            Action::FindStandIn(_) => Input::StandIn(self.has_stand_in),
            _ => Input::Done,
        }
    }

    /// All actions of the renewal, the last one being its end.
    fn actions(mut self) -> Vec<Action> {
        let mut machine = RenewalMachine::new(self.goal, self.refresh_when_contested);
        let mut actions = vec![machine.start()];
        while let Some(action) = actions.last().copied().filter(|last| !matches!(last, Action::Finish(_))) {
            assert!(actions.len() < 40, "{actions:?}");
            actions.push(machine.step(self.answer(action)));
        }
        actions
    }

    /// The actions after this one.
    fn actions_after(self, action: Action) -> Vec<Action> {
        let actions = self.actions();
        let position = actions.iter().position(|found| *found == action);
        actions[position.unwrap_or_else(|| panic!("{action:?} is not among {actions:?}")) + 1..].to_vec()
    }

    fn ending(self) -> Ending {
        match self.actions().last() {
            Some(Action::Finish(ending)) => *ending,
            other => panic!("no end: {other:?}"),
        }
    }
}

const LOGIN: Action = Action::RecordFailure(Failure::Refresh { needs_login: true });
const FAILURE: Action = Action::RecordFailure(Failure::Refresh { needs_login: false });
const FULL_GRANT: Action = Action::CallFullGrant(None);

#[test]
fn a_first_token_takes_these_steps() {
    let actions = Scenario { has_leases: true, ..Scenario::default() }.actions();
    let expected = [
        Action::CheckSlot,
        Action::RecoverUnkeptToken,
        Action::ReadStorage,
        Action::CheckCoolDown,
        Action::CheckLease,
        Action::AcquireLease(CoolDownPolicy::Respect),
        Action::ReadStorageUnderLease,
        Action::SelectCandidate,
        Action::BeginRenewal,
        Action::CallFullGrant(None),
        Action::KeepToken(GrantKind::Full),
        Action::Finish(Ending::Issued(GrantKind::Full)),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn inv23_the_table_after_a_failed_refresh() {
    for (state, with_valid_token, with_full_grant, without_full_grant) in [
        (Dead, vec![FULL_GRANT], vec![FULL_GRANT], vec![LOGIN]),
        (
            Refused,
            vec![Action::ClearMark, FULL_GRANT],
            vec![Action::ClearMark, FULL_GRANT],
            vec![Action::ClearMark, FAILURE],
        ),
        (
            Unused,
            vec![Action::ClearMark, Action::AssessFallback, FAILURE],
            vec![Action::ClearMark, Action::AssessFallback, FULL_GRANT],
            vec![Action::ClearMark, FAILURE],
        ),
        (
            InDoubt,
            vec![Action::AssessFallback, FAILURE],
            vec![Action::AssessFallback, FULL_GRANT],
            vec![FAILURE],
        ),
    ] {
        let after = |change: fn(&mut Scenario)| {
            let mut scenario = Scenario::after_failed_refresh(state);
            change(&mut scenario);
            scenario.actions_after(Action::CallRefresh)
        };
        let valid = after(|scenario| {
            scenario.goal = ahead_of_expiry();
            scenario.facts.has_usable_token = true;
        });
        assert!(valid.starts_with(&with_valid_token), "{state:?}: {valid:?}");
        let full = after(|_| ());
        assert!(full.starts_with(&with_full_grant), "{state:?}: {full:?}");
        let login = after(|scenario| scenario.facts.has_full_grant = false);
        assert!(login.starts_with(&without_full_grant), "{state:?}: {login:?}");
    }
}

#[test]
fn inv23_a_second_call_in_doubt_needs_a_login_where_there_is_no_full_grant() {
    for (is_repeated_doubt, expected) in [(false, FAILURE), (true, LOGIN)] {
        let mut scenario = Scenario::with_shared_refresh_token();
        scenario.facts.has_full_grant = false;
        scenario.refresh = Input::RefreshFailed { state: InDoubt, is_repeated_doubt };
        assert_eq!(scenario.actions_after(Action::CallRefresh)[0], expected);
    }
}

#[test]
fn inv23_a_first_retry_after_delays_the_full_grant() {
    for (state, is_delayed) in [(Dead, false), (Refused, false), (Unused, true), (InDoubt, true)] {
        let scenario = Scenario { asks_for_delay: true, ..Scenario::after_failed_refresh(state) };
        let actions = scenario.actions_after(Action::CallRefresh);
        assert_eq!(actions.contains(&FULL_GRANT), !is_delayed, "{state:?}: {actions:?}");
    }
}

#[test]
fn inv25_a_refresh_token_in_doubt_is_sent_only_as_the_last_way() {
    for (has_full_grant, is_full_grant_refused, goal, has_usable_token, is_sent) in [
        (true, false, RenewalGoal::VALID, false, false),
        (true, true, RenewalGoal::VALID, false, true),
        (false, false, RenewalGoal::VALID, false, true),
        (false, false, RenewalGoal::VALID, true, true),
        (false, false, ahead_of_expiry(), true, false),
        (false, false, ahead_of_expiry(), false, true),
        (true, true, ahead_of_expiry(), true, false),
    ] {
        let facts =
            RenewalFacts { has_full_grant, is_in_doubt: true, is_full_grant_refused, has_usable_token };
        let scenario = Scenario { goal, facts, ..Scenario::with_shared_refresh_token() };
        let actions = scenario.actions_after(Action::BeginRenewal);
        assert_eq!(actions.contains(&Action::CallRefresh), is_sent, "{facts:?} {goal:?}: {actions:?}");
        if !is_sent {
            let obstacle = RefreshObstacle::InDoubt;
            let instead = if has_full_grant {
                Action::CallFullGrant(Some(obstacle))
            } else {
                Action::RecordFailure(Failure::NotSent(obstacle))
            };
            assert_eq!(actions[0], instead);
        }
        let facts =
            RenewalFacts { has_full_grant, is_in_doubt: true, is_full_grant_refused, has_usable_token };
        let contested =
            Scenario { goal, facts, refresh_when_contested: true, ..Scenario::with_shared_refresh_token() };
        assert!(contested.actions().contains(&Action::CallRefresh));
    }
}

#[test]
fn inv25_the_mark_decides_whether_the_refresh_token_is_sent() {
    let foreign = MarkAnswer::Foreign { may_be_in_progress: false };
    let running = MarkAnswer::Foreign { may_be_in_progress: true };
    let not_sent = |obstacle| Action::CallFullGrant(Some(obstacle));
    let failed = |obstacle| Action::RecordFailure(Failure::NotSent(obstacle));
    let take_over = Action::MarkRefreshToken(MarkTakeover::Always);
    for (answer, with_full_grant, without, when_contested) in [
        (MarkAnswer::NotSupported, Action::CallRefresh, Action::CallRefresh, Action::CallRefresh),
        (MarkAnswer::Ours, Action::CallRefresh, Action::CallRefresh, Action::CallRefresh),
        (foreign, not_sent(RefreshObstacle::ForeignMark), take_over, not_sent(RefreshObstacle::ForeignMark)),
        (
            running,
            not_sent(RefreshObstacle::ForeignMark),
            failed(RefreshObstacle::CallInProgress),
            not_sent(RefreshObstacle::ForeignMark),
        ),
        (
            MarkAnswer::NotMarked,
            not_sent(RefreshObstacle::NotMarked),
            failed(RefreshObstacle::NotMarked),
            Action::CallRefresh,
        ),
    ] {
        let next = |has_full_grant, refresh_when_contested, takeover| {
            let mut scenario = Scenario::with_shared_refresh_token();
            scenario.facts.has_full_grant = has_full_grant;
            scenario.refresh_when_contested = refresh_when_contested;
            scenario.first_mark = answer;
            scenario.actions_after(Action::MarkRefreshToken(takeover))[0]
        };
        assert_eq!(next(true, false, MarkTakeover::Never), with_full_grant, "{answer:?}");
        assert_eq!(next(false, false, MarkTakeover::Never), without, "{answer:?}");
        assert_eq!(next(true, true, MarkTakeover::Once), when_contested, "{answer:?}");
    }
}

#[test]
fn inv25_a_mark_is_taken_over_once() {
    for (mark, expected) in [
        (MarkAnswer::Ours, Action::CallRefresh),
        (
            MarkAnswer::Foreign { may_be_in_progress: false },
            Action::RecordFailure(Failure::NotSent(RefreshObstacle::ForeignMark)),
        ),
        (MarkAnswer::NotMarked, Action::RecordFailure(Failure::NotSent(RefreshObstacle::NotMarked))),
    ] {
        let mut scenario = Scenario::with_shared_refresh_token();
        scenario.facts.has_full_grant = false;
        scenario.first_mark = MarkAnswer::Foreign { may_be_in_progress: false };
        scenario.mark_after_takeover = mark;
        let next = scenario.actions_after(Action::MarkRefreshToken(MarkTakeover::Always))[0];
        assert_eq!(next, expected, "{mark:?}");
    }
}

/// Otherwise the user could never log in again without an operator: the storage lets the setting take over a mark once.
#[test]
fn inv23_a_mark_that_was_taken_over_before_is_taken_over_as_the_last_way() {
    let mut scenario = Scenario::with_shared_refresh_token();
    scenario.refresh_when_contested = true;
    scenario.facts.has_full_grant = false;
    scenario.first_mark = MarkAnswer::Foreign { may_be_in_progress: false };
    let actions = scenario.actions_after(Action::MarkRefreshToken(MarkTakeover::Once));
    assert!(actions.starts_with(&[Action::MarkRefreshToken(MarkTakeover::Always), Action::CallRefresh]));
}

#[test]
fn inv23_the_fallback_is_decided_by_the_facts_after_the_refresh() {
    for (had_usable_token, has_usable_token, expected) in
        [(false, true, FAILURE), (true, false, FULL_GRANT), (true, true, FAILURE), (false, false, FULL_GRANT)]
    {
        let mut scenario = Scenario::after_failed_refresh(InDoubt);
        scenario.goal = ahead_of_expiry();
        scenario.facts.has_usable_token = had_usable_token;
        scenario.has_usable_token_after_refresh = Some(has_usable_token);
        assert_eq!(scenario.actions_after(Action::AssessFallback)[0], expected);
    }
}

#[test]
fn inv25_a_private_refresh_token_needs_no_mark() {
    let candidate = CandidateFacts { id: cached_id(), has_refresh_token: true, is_shared: false };
    let scenario = Scenario { candidate: Some(candidate), ..Scenario::default() };
    assert_eq!(scenario.actions_after(Action::BeginRenewal)[0], Action::CallRefresh);
}

#[test]
fn inv25_a_lost_lease_leads_to_the_full_grant() {
    let lost = Scenario {
        has_leases: true,
        leases: vec![LeaseAnswer::Unavailable],
        first_mark: MarkAnswer::NotMarked,
        ..Scenario::with_shared_refresh_token()
    };
    let actions = lost.actions_after(Action::AcquireLease(CoolDownPolicy::Respect));
    let not_sent = Action::CallFullGrant(Some(RefreshObstacle::NotMarked));
    assert!(!actions.contains(&Action::ReadStorageUnderLease) && actions.contains(&not_sent), "{actions:?}");
}

#[test]
fn inv25_a_refused_full_grant_makes_the_refresh_token_the_last_way() {
    for (is_grant_refused, expected) in [
        (true, Action::RecordFullGrantRefusal),
        (false, Action::RecordFailure(Failure::FullGrant { needs_login: false, is_refresh: true })),
    ] {
        let mut scenario = Scenario::with_shared_refresh_token();
        scenario.facts.is_in_doubt = true;
        scenario.full_grant = Input::FullGrantFailed { state: Refused, is_grant_refused };
        let call = Action::CallFullGrant(Some(RefreshObstacle::InDoubt));
        assert_eq!(scenario.actions_after(call)[0], expected);
    }
}

#[test]
fn inv23_a_dead_seed_of_a_provider_without_full_grant_needs_a_login() {
    for (has_full_grant, state, needs_login) in
        [(false, Dead, true), (false, Refused, false), (true, Dead, false)]
    {
        let mut scenario = Scenario::default();
        scenario.facts.has_full_grant = has_full_grant;
        scenario.full_grant = Input::FullGrantFailed { state, is_grant_refused: true };
        let failure = Failure::FullGrant { needs_login, is_refresh: false };
        assert_eq!(scenario.actions_after(FULL_GRANT)[0], Action::RecordFailure(failure));
    }
}

#[test]
fn inv04_a_token_that_another_process_stores_ends_the_wait_for_the_lease() {
    let waiting = || Scenario {
        has_leases: true,
        leases: vec![LeaseAnswer::StorageChanged, LeaseAnswer::StorageChanged, LeaseAnswer::Held],
        ..Scenario::default()
    };
    let found = Scenario { storage_while_waiting: StorageAnswer::Usable, ..waiting() };
    assert_eq!(found.ending(), Ending::Adopted);
    let found = Scenario { storage_under_lease: StorageAnswer::Usable, ..waiting() };
    assert_eq!(found.ending(), Ending::Adopted);
    let acquire = Action::AcquireLease(CoolDownPolicy::Respect);
    let requests = waiting().actions().into_iter().filter(|action| *action == acquire);
    assert_eq!(requests.count(), 3);
}

#[test]
fn inv18_a_cached_token_stands_in_only_while_the_storage_does_not_answer() {
    let failed = Input::FullGrantFailed { state: InDoubt, is_grant_refused: false };
    for (storage, has_stand_in, ending) in [
        (StorageAnswer::Unavailable, true, Ending::Adopted),
        (StorageAnswer::Unavailable, false, Ending::Failed),
        (StorageAnswer::NotUsable, true, Ending::Failed),
    ] {
        let failing = Scenario { storage, has_stand_in, full_grant: failed, ..Scenario::default() };
        assert_eq!(failing.ending(), ending, "{storage:?}");
        let not_kept = Scenario { storage, has_stand_in, is_kept: false, ..Scenario::default() };
        assert_eq!(not_kept.ending(), ending, "{storage:?}");
    }
    let cooling_down = CoolDownAnswer::AfterOtherFailure;
    let storage = StorageAnswer::Unavailable;
    let failing = Scenario { storage, cool_down: cooling_down, has_stand_in: true, ..Scenario::default() };
    assert_eq!(failing.ending(), Ending::Adopted);
}

#[test]
fn inv18_a_token_that_the_storage_lacks_is_offered() {
    let first = Scenario { storage: StorageAnswer::LocalOnly, ..Scenario::default() };
    assert!(first.actions().ends_with(&[Action::OfferToStorage, Action::Finish(Ending::Adopted)]));
    let leased =
        Scenario { has_leases: true, storage_under_lease: StorageAnswer::LocalOnly, ..Scenario::default() };
    assert!(leased.actions().ends_with(&[Action::OfferToStorage, Action::Finish(Ending::Adopted)]));
}

#[test]
fn inv25_the_token_of_a_lost_flight_is_kept_before_anything_else() {
    for kind in [GrantKind::Full, GrantKind::Refresh] {
        let scenario = Scenario { unkept: Some(kind), ..Scenario::default() };
        let expected = [Action::KeepToken(kind), Action::Finish(Ending::Issued(kind))];
        assert_eq!(scenario.actions_after(Action::RecoverUnkeptToken), expected);
    }
}

#[test]
fn force_refresh_uses_the_refresh_token_only_without_a_full_grant() {
    for (has_full_grant, kind) in [(true, GrantKind::Full), (false, GrantKind::Refresh)] {
        let mut scenario = Scenario { goal: RenewalGoal::NEW, ..Scenario::with_shared_refresh_token() };
        scenario.facts.has_full_grant = has_full_grant;
        assert_eq!(scenario.ending(), Ending::Issued(kind));
    }
}

#[test]
fn an_answer_to_another_question_ends_the_renewal() {
    let mut machine = RenewalMachine::new(RenewalGoal::VALID, false);
    assert_eq!(machine.step(Input::TokenIssued), Action::Finish(Ending::UnexpectedInput));
    assert_eq!(machine.step(Input::SlotHit(None)), Action::Finish(Ending::UnexpectedInput));
}
