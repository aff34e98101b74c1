//! Feeds the machine every sequence of inputs.

use std::collections::HashSet;

use super::*;

/// The events of a run so far, for the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Trace {
    goal: RenewalGoal,
    refresh_when_contested: bool,
    is_storage_unavailable: bool,
    candidate: Option<CandidateFacts>,
    facts: Option<RenewalFacts>,
    first_mark: Option<MarkAnswer>,
    mark: Option<MarkAnswer>,
    refresh_calls: u8,
    full_grant_calls: u8,
    /// Whether the manager may renew the rejected token.
    is_renewal_permitted: bool,
    /// Whether the storage has leases; `None`: the machine has not asked.
    has_leases: Option<bool>,
    /// Whether the machine has an answer to its request for the lease, other than to wait on.
    is_lease_settled: bool,
    last_input: Input,
}

impl Trace {
    fn record(&mut self, action: Action, input: Input) {
        self.last_input = input;
        match (action, input) {
            (Action::ReadStorage, Input::Storage(answer)) => {
                self.is_storage_unavailable = answer == StorageAnswer::Unavailable;
            }
            (_, Input::RenewalPermitted(is_permitted)) => self.is_renewal_permitted = is_permitted,
            (_, Input::LeaseTerms { has_leases, .. }) => self.has_leases = Some(has_leases),
            (_, Input::Lease(answer)) => {
                self.is_lease_settled = matches!(answer, LeaseAnswer::Held | LeaseAnswer::Unavailable);
            }
            (_, Input::Candidate(candidate)) => self.candidate = candidate,
            (_, Input::Begun(facts)) => self.facts = Some(facts),
            (_, Input::Mark(mark)) => {
                self.first_mark = self.first_mark.or(Some(mark));
                self.mark = Some(mark);
            }
            (Action::CallRefresh, _) => self.refresh_calls += 1,
            (Action::CallFullGrant(_), _) => self.full_grant_calls += 1,
            _ => {}
        }
    }

    /// Whether the full grant, or waiting, is another way than the refresh token.
    fn has_other_way(&self) -> bool {
        self.facts.is_some_and(|facts| {
            (facts.has_full_grant && !facts.is_full_grant_refused)
                || (self.goal.is_in_background() && facts.has_usable_token)
        })
    }

    /// The rules that hold for each action, given the one before it.
    fn check(&self, before: Action, action: Action) {
        if self.last_input == Input::TokenIssued {
            let kind = if before == Action::CallRefresh { GrantKind::Refresh } else { GrantKind::Full };
            assert_eq!(action, Action::KeepToken(kind), "{self:?}");
            assert!(!action.is_bounded(), "a time-out could lose the token: {self:?}");
        }
        if let (Action::KeepToken(kind), Input::Done) = (before, self.last_input) {
            assert_eq!(action, Action::Finish(Ending::Issued(kind)), "{self:?}");
        }
        self.check_failure(before, action);
        match action {
            Action::CallRefresh => self.check_refresh(),
            Action::CallFullGrant(_) => {
                self.check_call();
                assert_eq!(self.full_grant_calls, 0, "{self:?}");
                let has_refresh_token = self.candidate.is_some_and(|candidate| candidate.has_refresh_token);
                assert!(self.has_full_grant() || !has_refresh_token, "{self:?}");
            }
            Action::MarkRefreshToken(MarkTakeover::Always) => {
                assert!(!self.has_other_way(), "a mark was taken over without need: {self:?}");
                assert_eq!(self.mark, Some(MarkAnswer::Foreign { may_be_in_progress: false }));
            }
            Action::RecordFailure(
                Failure::Refresh { needs_login } | Failure::FullGrant { needs_login, .. },
            ) => {
                assert!(!needs_login || !self.has_full_grant(), "{self:?}");
            }
            Action::RecordFailure(Failure::NotSent(_)) => assert!(!self.has_full_grant(), "{self:?}"),
            Action::DeleteRejectedToken(rejected) => {
                let candidate = self.candidate.filter(|candidate| candidate.id == rejected);
                let is_refreshable = candidate.is_some_and(|candidate| candidate.has_refresh_token);
                assert!(!is_refreshable, "the refresh token would be lost: {self:?}");
            }
            Action::FindStandIn(_) => assert!(self.is_storage_unavailable, "{self:?}"),
            Action::Finish(ending) => assert_ne!(ending, Ending::UnexpectedInput, "{before:?} {self:?}"),
            _ => {}
        }
    }

    /// The renewal records a failure, then shares it, and ends. If the first read of the storage got no
    /// answer, and there is a stand-in, the renewal ends with that. After a time-out there is no time left
    /// to look for one.
    fn check_failure(&self, before: Action, action: Action) {
        let is_answered = !matches!(self.last_input, Input::TimedOut | Input::Panicked);
        let is_failure_recorded = matches!(before, Action::RecordFailure(_)) && is_answered;
        assert_eq!(action == Action::ShareFailure, is_failure_recorded, "{before:?} {self:?}");
        let fails_with = match (before, self.last_input) {
            (Action::ShareFailure, Input::Done) | (Action::KeepToken(_), Input::NotKept) => Ending::Failed,
            (Action::KeepToken(_), Input::Panicked) => Ending::Panicked,
            (
                _,
                Input::CoolDown(CoolDownAnswer::AfterOtherFailure)
                | Input::NewCredentials(false)
                | Input::Lease(LeaseAnswer::CoolingDown),
            ) => Ending::CoolingDown,
            (_, Input::TimedOut) => {
                assert_eq!(action, Action::Finish(Ending::TimedOut), "{before:?} {self:?}");
                return;
            }
            _ => {
                assert!(!matches!(action, Action::FindStandIn(_)), "{before:?} {self:?}");
                return;
            }
        };
        let find = Action::FindStandIn(fails_with);
        let expected = if self.is_storage_unavailable { find } else { Action::Finish(fails_with) };
        assert_eq!(action, expected, "{before:?} {self:?}");
    }

    /// The rules that hold for each call of the provider.
    fn check_call(&self) {
        let is_permitted = self.goal.rejected().is_none() || self.is_renewal_permitted;
        assert!(is_permitted, "a rejected token is renewed without permission: {self:?}");
        let has_asked_for_lease = self.has_leases.is_some_and(|has| !has || self.is_lease_settled);
        assert!(has_asked_for_lease, "the provider is called without a request for the lease: {self:?}");
    }

    fn has_full_grant(&self) -> bool {
        self.facts.is_some_and(|facts| facts.has_full_grant)
    }

    fn check_refresh(&self) {
        self.check_call();
        assert_eq!((self.refresh_calls, self.full_grant_calls), (0, 0), "{self:?}");
        let candidate = self.candidate.filter(|candidate| candidate.has_refresh_token);
        let candidate = candidate.unwrap_or_else(|| panic!("no refresh token: {self:?}"));
        let is_in_doubt = self.facts.is_some_and(|facts| facts.is_in_doubt);
        assert!(
            !is_in_doubt || !self.has_other_way() || self.refresh_when_contested,
            "a refresh token in doubt was sent while there is another way: {self:?}"
        );
        let is_marked = match self.mark {
            Some(MarkAnswer::Ours | MarkAnswer::NotSupported) => true,
            Some(MarkAnswer::NotMarked) => self.refresh_when_contested,
            Some(MarkAnswer::Foreign { .. }) | None => false,
        };
        assert_eq!(is_marked, candidate.is_shared, "{self:?}");
    }
}

/// Every input with which the driver can answer the action.
fn answers(action: Action) -> Vec<Input> {
    let mut answers = match action {
        Action::CheckSlot => {
            let hits = [None, Some(cached_id()), Some(TokenId::of("other"))];
            hits.map(Input::SlotHit).to_vec()
        }
        Action::RecoverUnkeptToken => {
            [None, Some(GrantKind::Full), Some(GrantKind::Refresh)].map(Input::UnkeptToken).to_vec()
        }
        Action::ReadStorage | Action::ReadStorageWhileWaiting | Action::ReadStorageUnderLease => [
            StorageAnswer::Usable,
            StorageAnswer::LocalOnly,
            StorageAnswer::NotUsable,
            StorageAnswer::Unavailable,
        ]
        .map(Input::Storage)
        .to_vec(),
        Action::CheckCoolDown => [
            CoolDownAnswer::NotActive,
            CoolDownAnswer::AfterPermanentFailure,
            CoolDownAnswer::AfterOtherFailure,
        ]
        .map(Input::CoolDown)
        .to_vec(),
        Action::CheckNewCredentials => [true, false].map(Input::NewCredentials).to_vec(),
        Action::RejectCachedToken(_) => [true, false].map(Input::RenewalPermitted).to_vec(),
        Action::CheckLease => both(|has_leases| {
            both(|has_waited_for_others| vec![Input::LeaseTerms { has_leases, has_waited_for_others }])
        }),
        Action::AcquireLease(_) => [
            LeaseAnswer::Held,
            LeaseAnswer::CoolingDown,
            LeaseAnswer::StorageChanged,
            LeaseAnswer::Unavailable,
        ]
        .map(Input::Lease)
        .to_vec(),
        Action::SelectCandidate => candidates(),
        Action::BeginRenewal => facts(),
        Action::MarkRefreshToken(_) => [
            MarkAnswer::NotSupported,
            MarkAnswer::Ours,
            MarkAnswer::Foreign { may_be_in_progress: true },
            MarkAnswer::Foreign { may_be_in_progress: false },
            MarkAnswer::NotMarked,
        ]
        .map(Input::Mark)
        .to_vec(),
        Action::CallRefresh => {
            let failed =
                each_state(|state, is_repeated_doubt| Input::RefreshFailed { state, is_repeated_doubt });
            [vec![Input::TokenIssued], failed].concat()
        }
        Action::AssessFallback => both(|is_first_retry_after| {
            both(|has_usable_token| vec![Input::Fallback { is_first_retry_after, has_usable_token }])
        }),
        Action::CallFullGrant(_) => {
            let failed =
                each_state(|state, is_grant_refused| Input::FullGrantFailed { state, is_grant_refused });
            [vec![Input::TokenIssued], failed].concat()
        }
        Action::KeepToken(_) => vec![Input::Done, Input::NotKept],
        Action::FindStandIn(_) => [true, false].map(Input::StandIn).to_vec(),
        Action::OfferToStorage
        | Action::DeleteRejectedToken(_)
        | Action::ClearMark
        | Action::RecordFullGrantRefusal
        | Action::RecordFailure(_)
        | Action::ShareFailure => vec![Input::Done],
        Action::Finish(_) => Vec::new(),
    };
    if action.is_bounded() {
        answers.push(Input::TimedOut);
    }
    if !matches!(action, Action::Finish(_)) {
        answers.push(Input::Panicked);
    }
    answers
}

fn both(with: impl Fn(bool) -> Vec<Input>) -> Vec<Input> {
    [with(false), with(true)].concat()
}

fn each_state(with: impl Fn(RefreshTokenState, bool) -> Input) -> Vec<Input> {
    let states = [Dead, Refused, Unused, InDoubt];
    states.into_iter().flat_map(|state| [with(state, false), with(state, true)]).collect()
}

fn candidates() -> Vec<Input> {
    let mut candidates = vec![Input::Candidate(None)];
    for id in [cached_id(), TokenId::of("other")] {
        for (has_refresh_token, is_shared) in [(false, false), (false, true), (true, false), (true, true)] {
            candidates.push(Input::Candidate(Some(CandidateFacts { id, has_refresh_token, is_shared })));
        }
    }
    candidates
}

fn facts() -> Vec<Input> {
    both(|has_full_grant| {
        both(|is_in_doubt| {
            both(|is_full_grant_refused| {
                both(|has_usable_token| {
                    vec![Input::Begun(RenewalFacts {
                        has_full_grant,
                        is_in_doubt,
                        is_full_grant_refused,
                        has_usable_token,
                    })]
                })
            })
        })
    })
}

/// A depth that no run without a wait for the lease reaches.
const MAX_DEPTH: usize = 25;

#[derive(Default)]
struct Exploration {
    seen: HashSet<(RenewalMachine, Trace)>,
    /// The states that lead to the present one.
    path: Vec<(RenewalMachine, Trace)>,
    endings: HashSet<Ending>,
    /// The first answers about the mark after which a refresh token was sent although there is no full grant, with the
    /// setting `refresh_when_contested`.
    sent_as_last_way: HashSet<(bool, Option<MarkAnswer>)>,
}

impl Exploration {
    fn explore(&mut self, machine: RenewalMachine, trace: Trace, action: Action) {
        if let Action::Finish(ending) = action {
            self.endings.insert(ending);
            return;
        }
        let state = (machine, trace);
        if self.path.contains(&state) {
            // Only the wait for the lease repeats itself, and the driver bounds that wait by a deadline.
            let is_wait = matches!(
                action,
                Action::CheckLease | Action::AcquireLease(_) | Action::ReadStorageWhileWaiting
            );
            assert!(is_wait, "{action:?} repeats itself: {trace:?}");
            return;
        }
        // The same state has the same successors after any inputs, so the test visits it once.
        if !self.seen.insert(state.clone()) {
            return;
        }
        assert!(self.path.len() < MAX_DEPTH, "{trace:?}");
        self.path.push(state);
        for input in answers(action) {
            let (mut machine, mut trace) = self.path[self.path.len() - 1].clone();
            let next = machine.step(input);
            trace.record(action, input);
            trace.check(action, next);
            if next == Action::CallRefresh && !trace.has_full_grant() {
                self.sent_as_last_way.insert((trace.refresh_when_contested, trace.first_mark));
            }
            self.explore(machine, trace, next);
        }
        self.path.pop();
    }
}

#[test]
fn inv25_every_sequence_of_inputs_ends_and_keeps_the_rules() {
    let mut exploration = Exploration::default();
    for goal in
        [RenewalGoal::VALID, RenewalGoal::NEW, RenewalGoal::Recheck, ahead_of_expiry(), after_rejection()]
    {
        for refresh_when_contested in [false, true] {
            let machine = RenewalMachine::new(goal, refresh_when_contested);
            let first = machine.start();
            let trace = Trace {
                goal,
                refresh_when_contested,
                is_storage_unavailable: false,
                candidate: None,
                facts: None,
                first_mark: None,
                mark: None,
                refresh_calls: 0,
                full_grant_calls: 0,
                is_renewal_permitted: false,
                has_leases: None,
                is_lease_settled: false,
                last_input: Input::Done,
            };
            exploration.explore(machine, trace, first);
        }
    }
    for ending in [
        Ending::Adopted,
        Ending::Issued(GrantKind::Full),
        Ending::Issued(GrantKind::Refresh),
        Ending::RenewalPaused(cached_id()),
        Ending::CoolingDown,
        Ending::Failed,
        Ending::TimedOut,
        Ending::Panicked,
    ] {
        assert!(exploration.endings.contains(&ending), "no sequence ends with {ending:?}");
    }
    // Otherwise a user without a full grant could be locked out for ever (invariant 23).
    for refresh_when_contested in [false, true] {
        for mark in [
            None,
            Some(MarkAnswer::NotSupported),
            Some(MarkAnswer::Ours),
            Some(MarkAnswer::Foreign { may_be_in_progress: false }),
        ] {
            let is_sent = exploration.sent_as_last_way.contains(&(refresh_when_contested, mark));
            assert!(is_sent, "no sequence sends the refresh token: {refresh_when_contested} {mark:?}");
        }
    }
    assert!(exploration.sent_as_last_way.contains(&(true, Some(MarkAnswer::NotMarked))));
}
