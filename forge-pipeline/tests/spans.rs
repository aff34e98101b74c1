//! The spans that a subscriber of `tracing` receives. A program of its own, because the spans of other tests would
//! reach this subscriber.

#![allow(clippy::expect_used, clippy::unwrap_used, dead_code, missing_docs)]

#[path = "steps/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use forge_core::AuthenticationErrorKind;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use world::{CallOutcome, World, unauthorized};

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

#[derive(Default)]
struct Span {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Span {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut span = Span { name: attributes.metadata().name(), ..Span::default() };
        attributes.record(&mut span);
        let mut spans = self.0.lock().unwrap();
        spans.push(span);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        let place = usize::try_from(id.into_u64()).unwrap() - 1;
        values.record(&mut self.0.lock().unwrap()[place]);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Spans {
    /// The spans so far, each as `name step outcome`, sorted.
    fn take(&self) -> Vec<String> {
        let spans = std::mem::take(&mut *self.0.lock().unwrap());
        let mut told: Vec<_> = spans
            .iter()
            .map(|span| {
                assert_eq!(span.fields["pipeline"], "api");
                assert!(span.fields["duration"].ends_with('s'), "{:?}", span.fields);
                let step = span.fields.get("step").map_or("", String::as_str);
                format!("{} {step} {}", span.name, span.fields["outcome"])
            })
            .collect();
        told.sort();
        told
    }
}

#[tokio::test]
async fn a_renewal_after_a_401_says_whether_it_was_its_own() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let world =
        World::new().step("app", &[]).step("a", &["app"]).step("b", &["app"]).step("last", &["a", "b"]);
    for step in &world.steps[1..3] {
        step.state().revoked.push("app-1".to_owned());
    }
    world.pipeline().execute(false).await.unwrap();
    assert_eq!(world.calls(), [2, 2, 2, 1]);
    // Of two steps whose calls are refused at once, one renews.
    let healed = [
        "token_pipeline  fetched",
        "token_step a fetched",
        "token_step app fetched",
        "token_step app fetched",
        "token_step app joined",
        "token_step app joined",
        "token_step b fetched",
        "token_step last fetched",
    ];
    assert_eq!(spans.take(), healed);

    // Renewals back off if earlier ones did not help.
    let world = World::new().step("app", &[]).step("user", &["app"]);
    let pipeline = world.pipeline();
    for _ in 0..3 {
        world.steps[1].then(CallOutcome::Error(unauthorized()));
    }
    pipeline.execute(false).await.unwrap_err();
    spans.take();
    pipeline.execute(true).await.unwrap_err();
    let refused = [
        "token_pipeline  failed",
        "token_step app cached",
        "token_step app fetched",
        "token_step app none",
        "token_step user failed",
    ];
    assert_eq!(spans.take(), refused);
}

#[tokio::test]
async fn an_execution_and_its_steps_have_a_span_each_with_their_outcome() {
    let spans = Spans::default();
    let _guard = tracing::subscriber::set_default(spans.clone());
    let world = World::new().step("app", &[]).step("user", &["app"]);
    let pipeline = world.pipeline();
    pipeline.execute(false).await.unwrap();
    assert_eq!(
        spans.take(),
        ["token_pipeline  fetched", "token_step app fetched", "token_step user fetched"]
    );
    pipeline.execute(false).await.unwrap();
    assert_eq!(spans.take(), ["token_pipeline  cached", "token_step user cached"]);
    pipeline.invalidate_step("user").await.unwrap();
    let (one, two) = tokio::join!(pipeline.execute(false), pipeline.execute(false));
    one.and(two).unwrap();
    let both = [
        "token_pipeline  fetched",
        "token_pipeline  joined",
        "token_step app cached",
        "token_step user fetched",
        "token_step user joined",
    ];
    assert_eq!(spans.take(), both);
    pipeline.invalidate_all().await.unwrap();
    world.steps[0].fail(AuthenticationErrorKind::Connect);
    pipeline.execute(false).await.unwrap_err();
    assert_eq!(spans.take(), ["token_pipeline  failed", "token_step app failed", "token_step user failed"]);
}
