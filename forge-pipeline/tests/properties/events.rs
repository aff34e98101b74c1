use std::sync::Arc;
use std::time::Duration;

use forge_core::TokenStorage;
use forge_pipeline::{SharedSteps, TokenFetchPipeline};
use forge_storage_memory::InMemoryTokenStorage;
use futures_util::future::join_all;
use proptest::prelude::*;

use crate::model::Model;
use crate::world::{Plan, SharedState, Step, Trouble, name};

#[derive(Clone, Debug)]
enum Event {
    /// This many callers execute the pipeline at once.
    Execute(usize),
    ExecuteAnew,
    Pass(u64),
    Fail(usize, Trouble),
    Invalidate(usize),
    InvalidateAll,
    /// A new pipeline replaces the old one, and finds the stored tokens.
    Restart,
}

/// Steps that depend on earlier steps only. The last step needs all the others.
fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan =
        (prop::collection::vec(any::<prop::sample::Index>(), 0..4), 20_u64..400, any::<bool>(), 0_usize..6);
    prop::collection::vec(plan, 1..=12).prop_map(|steps| {
        let last = steps.len() - 1;
        let mut plans: Vec<Plan> = Vec::new();
        for (place, (needs, life, dies, slowness)) in steps.into_iter().enumerate() {
            let mut needs: Vec<usize> =
                needs.iter().filter(|_| place > 0).map(|need| need.index(place)).collect();
            if place == last {
                let is_needed = |step: &usize| plans.iter().any(|plan: &Plan| plan.needs.contains(step));
                needs.extend((0..last).filter(|step| !is_needed(step)).collect::<Vec<_>>());
            }
            needs.sort_unstable();
            needs.dedup();
            plans.push(Plan { needs, life, dies, slowness });
        }
        plans
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let step = any::<prop::sample::Index>().prop_map(|index| index.index(12));
    let trouble = prop_oneof![Just(Trouble::Transient), Just(Trouble::Permanent)];
    let event = prop_oneof![
        6 => (1_usize..4).prop_map(Event::Execute),
        1 => Just(Event::ExecuteAnew),
        4 => (1_u64..200).prop_map(Event::Pass),
        2 => (step.clone(), trouble).prop_map(|(step, trouble)| Event::Fail(step, trouble)),
        2 => step.prop_map(Event::Invalidate),
        1 => Just(Event::InvalidateAll),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 1..24)
}

/// The place in which the steps keep their tokens. A new pipeline finds some or all of them.
#[derive(Clone, Copy, Debug)]
enum TokenHome {
    Pipeline,
    Storage,
    SharedSteps,
}

fn token_homes() -> impl Strategy<Value = TokenHome> {
    prop_oneof![Just(TokenHome::Pipeline), Just(TokenHome::Storage), Just(TokenHome::SharedSteps)]
}

struct Run {
    shared: Arc<SharedState>,
    steps: Vec<Arc<Step>>,
    storage: Option<InMemoryTokenStorage>,
    shared_steps: Option<SharedSteps>,
    pipeline: TokenFetchPipeline,
    model: Model,
}

impl Run {
    fn new(plans: &[Plan], token_home: TokenHome) -> Self {
        let shared = SharedState::new(plans.len());
        let steps: Vec<_> =
            plans.iter().enumerate().map(|(step, plan)| Step::new(step, plan, &shared)).collect();
        let storage = match token_home {
            TokenHome::Pipeline => None,
            TokenHome::Storage | TokenHome::SharedSteps => {
                Some(InMemoryTokenStorage::builder().clock(Arc::clone(&shared.clock) as _).build())
            }
        };
        let shared_steps = match (token_home, &storage) {
            (TokenHome::SharedSteps, Some(storage)) => Some(SharedSteps::new(storage.clone())),
            _ => None,
        };
        let pipeline = Self::pipeline(&shared, &steps, storage.as_ref(), shared_steps.as_ref());
        Self { shared, steps, storage, shared_steps, pipeline, model: Model::new(plans) }
    }

    fn pipeline(
        shared: &SharedState,
        steps: &[Arc<Step>],
        storage: Option<&InMemoryTokenStorage>,
        shared_steps: Option<&SharedSteps>,
    ) -> TokenFetchPipeline {
        let builder = TokenFetchPipeline::builder().clock(Arc::clone(&shared.clock) as _);
        // The reverse order, except that the last step stays the last.
        let listed = steps.iter().rev().skip(1).chain(steps.last());
        let builder = builder.steps(listed.map(Arc::clone));
        let builder = match (shared_steps, storage) {
            (Some(shared_steps), _) => builder.shared_steps(shared_steps),
            (None, Some(storage)) => builder.storage(storage.clone()),
            (None, None) => builder,
        };
        builder.build().expect("a pipeline")
    }

    async fn meet(&mut self, event: &Event) {
        let steps = self.steps.len();
        match event {
            Event::Execute(callers) => self.execute(*callers).await,
            Event::ExecuteAnew => self.execute_anew().await,
            Event::Pass(seconds) => self.shared.clock.advance(Duration::from_secs(*seconds)),
            Event::Fail(step, trouble) => {
                self.shared.records()[step % steps].trouble = Some(*trouble);
                self.model.trouble[step % steps] = Some(*trouble);
            }
            Event::Invalidate(step) => {
                self.pipeline.invalidate_step(&name(step % steps)).await.expect("forgotten");
                self.model.forget(step % steps);
            }
            Event::InvalidateAll => {
                self.pipeline.invalidate_all().await.expect("forgotten");
                self.model.cached.fill_with(|| None);
            }
            Event::Restart => {
                let (storage, shared_steps) = (self.storage.as_ref(), self.shared_steps.as_ref());
                self.pipeline = Self::pipeline(&self.shared, &self.steps, storage, shared_steps);
                if self.storage.is_none() {
                    self.model.cached.fill_with(|| None);
                }
            }
        }
        self.compare_storage().await;
    }

    async fn execute(&mut self, callers: usize) {
        let before = self.calls();
        let expected = self.model.lazily(self.shared.now());
        let results = join_all((0..callers).map(|_| self.pipeline.execute(false))).await;
        self.shared.settle().await;
        let called: Vec<_> = self.calls().iter().zip(&before).map(|(after, before)| after - before).collect();
        let should: Vec<_> = expected.calls.iter().map(|called| usize::from(*called)).collect();
        assert_eq!(called, should, "calls of each step");
        self.look();
        for result in results {
            assert_eq!(result.is_ok(), expected.succeeds, "{result:?}");
            let brought = result.ok().map(|token| token.access_token().to_owned());
            let current = self.shared.records().last().and_then(|last| last.minted.clone());
            assert!(brought.is_none() || brought == current.map(|minted| minted.value));
        }
        if !expected.succeeds {
            self.stand_back().await;
        }
    }

    async fn execute_anew(&mut self) {
        let before = self.calls();
        let fails = self.model.trouble.iter().any(Option::is_some);
        let result = self.pipeline.execute(true).await;
        self.shared.settle().await;
        let called: Vec<_> = self.calls().iter().zip(&before).map(|(after, before)| after - before).collect();
        assert_eq!(result.is_err(), fails, "{result:?}");
        if fails {
            assert!(called.iter().all(|calls| *calls <= 1), "{called:?}");
            for (step, record) in self.shared.records().iter().enumerate() {
                self.model.trouble[step] = record.trouble;
            }
            self.look();
            self.shared.clock.advance(Duration::from_secs(61));
        } else {
            assert_eq!(called, vec![1; called.len()]);
            self.look();
        }
    }

    /// Right after a failure the pipeline calls no step. After a minute it calls all of them again.
    async fn stand_back(&mut self) {
        let before = self.calls();
        self.pipeline.execute(false).await.expect_err("it stands back");
        self.shared.settle().await;
        assert_eq!(self.calls(), before);
        self.shared.clock.advance(Duration::from_secs(61));
    }

    fn calls(&self) -> Vec<usize> {
        self.shared.records().iter().map(|record| record.calls).collect()
    }

    /// Records the tokens that the steps have returned in the model.
    fn look(&mut self) {
        let records = self.shared.records();
        for (step, record) in records.iter().enumerate() {
            assert!(record.complaints.is_empty(), "{:?}", record.complaints);
            if let Some(minted) = &record.minted {
                self.model.note(step, minted);
            }
        }
    }

    /// The storage has every token that the pipeline may use, and none that it has forgotten.
    async fn compare_storage(&self) {
        let Some(storage) = &self.storage else { return };
        for step in 0..self.steps.len() {
            let is_there = storage.exists(&name(step)).await.expect("asked");
            assert!(!is_there || self.model.cached[step].is_some(), "{} is still there", name(step));
            assert!(is_there || !self.model.is_good(step, self.shared.now()), "{} is gone", name(step));
        }
    }
}

proptest! {
    #![proptest_config(crate::cases(400))]

    #[test]
    fn whatever_happens_what_is_called_is_what_has_to_be(
        plans in plans(),
        events in events(),
        token_home in token_homes(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::new(&plans, token_home);
            for event in &events {
                run.meet(event).await;
            }
        });
    }
}
