//! A model of a pipeline: it computes the expected calls in the plainest way.

use crate::world::{MintedToken, Plan, Trouble};

/// The tokens that the pipeline should have in its cache.
pub(crate) struct Model {
    pub(crate) plans: Vec<Plan>,
    pub(crate) cached: Vec<Option<CachedToken>>,
    /// Each step's last token, cached or not.
    last: Vec<String>,
    pub(crate) trouble: Vec<Option<Trouble>>,
}

#[derive(Clone, Debug)]
pub(crate) struct CachedToken {
    minted: MintedToken,
    expires_at: i64,
}

/// The expected outcome of an execution.
pub(crate) struct ExpectedOutcome {
    /// Which steps are called.
    pub(crate) calls: Vec<bool>,
    pub(crate) succeeds: bool,
}

impl Model {
    pub(crate) fn new(plans: &[Plan]) -> Self {
        let none = plans.len();
        Self {
            plans: plans.to_vec(),
            cached: vec![None; none],
            last: vec![String::new(); none],
            trouble: vec![None; none],
        }
    }

    /// Whether the pipeline may use a step's token: more than half a minute, or half, of its life is left, and the
    /// tokens that it dies with are the same.
    pub(crate) fn is_good(&self, step: usize, now: i64) -> bool {
        let Some(cached) = &self.cached[step] else { return false };
        let life_millis = (cached.expires_at - cached.minted.at) * 1_000;
        let margin = (life_millis / 2).min(30_000);
        let is_valid = now * 1_000 < cached.expires_at * 1_000 - margin;
        let same = |need: &usize| {
            let current = self.cached[*need].as_ref().map(|current| &current.minted.value);
            self.is_good(*need, now) && current == cached.minted.with.get(need)
        };
        is_valid && (!self.plans[step].dies || self.plans[step].needs.iter().all(same))
    }

    /// Records a token that a step has returned.
    pub(crate) fn note(&mut self, step: usize, minted: &MintedToken) {
        if self.last[step] == minted.value {
            return;
        }
        self.last[step].clone_from(&minted.value);
        let mut expires_at = minted.at + i64::try_from(self.plans[step].life).unwrap();
        if self.plans[step].dies {
            let needs = self.plans[step].needs.iter();
            let first = needs.filter_map(|need| Some(self.cached[*need].as_ref()?.expires_at)).min();
            expires_at = first.map_or(expires_at, |first| first.min(expires_at));
        }
        self.cached[step] = Some(CachedToken { minted: minted.clone(), expires_at });
    }

    pub(crate) fn forget(&mut self, step: usize) {
        self.cached[step] = None;
        for dependant in 0..self.plans.len() {
            if self.plans[dependant].needs.contains(&step) {
                self.forget(dependant);
            }
        }
    }

    pub(crate) fn lazily(&mut self, now: i64) -> ExpectedOutcome {
        let mut visited = vec![None; self.plans.len()];
        let mut calls = vec![false; self.plans.len()];
        let succeeds = self.visit(self.plans.len() - 1, now, &mut visited, &mut calls);
        ExpectedOutcome { calls, succeeds }
    }

    fn visit(&mut self, step: usize, now: i64, visited: &mut [Option<bool>], calls: &mut [bool]) -> bool {
        if let Some(known) = visited[step] {
            return known;
        }
        let outcome = self.is_good(step, now) || {
            let mut all = true;
            for need in self.plans[step].needs.clone() {
                all &= self.visit(need, now, visited, calls);
            }
            calls[step] = all;
            all && self.trouble[step].take().is_none()
        };
        visited[step] = Some(outcome);
        outcome
    }
}
