use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::canaries::Canaries;

/// One line of a log, or one span: all its fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) target: String,
    /// As `Level::as_str`.
    pub(crate) level: &'static str,
    pub(crate) text: String,
}

/// From here on the recorder keeps all that any thread of this process logs.
pub(crate) fn keep() {
    static KEPT: LazyLock<()> = LazyLock::new(|| {
        let subscriber = tracing_subscriber::registry().with(Keeper);
        tracing::subscriber::set_global_default(subscriber).expect("no other subscriber");
    });
    *KEPT;
}

/// The log so far, each line once.
pub(crate) fn lines() -> Vec<Line> {
    kept().keys().cloned().collect()
}

/// The number of lines like these in the log so far.
pub(crate) fn times(is_meant: impl Fn(&Line) -> bool) -> usize {
    kept().iter().filter(|(line, _)| is_meant(line)).map(|(_, times)| times).sum()
}

/// Looks at the lines of the log so far for which `is_searched` holds.
pub(crate) fn look_at(canaries: &mut Canaries, is_searched: impl Fn(&Line) -> bool) {
    for line in lines().into_iter().filter(is_searched) {
        let what = format!("log of {} at {}", line.target, line.level);
        canaries.look_at(&what, format!("{} {}", line.target, line.text));
    }
}

/// Each line, with the number of times that it was logged.
static LINES: Mutex<BTreeMap<Line, usize>> = Mutex::new(BTreeMap::new());

fn kept() -> MutexGuard<'static, BTreeMap<Line, usize>> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Keeper;

impl<S: Subscriber> Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        keep_fields(attributes.metadata(), |fields| attributes.record(fields));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        let (target, level) = ("(a span, later)".to_owned(), Level::TRACE.as_str());
        *kept().entry(Line { target, level, text: fields.0 }).or_default() += 1;
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        keep_fields(event.metadata(), |fields| event.record(fields));
    }
}

fn keep_fields(metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
    let mut fields = Fields(metadata.name().to_owned());
    record(&mut fields);
    let (target, level) = (metadata.target().to_owned(), metadata.level().as_str());
    *kept().entry(Line { target, level, text: fields.0 }).or_default() += 1;
}

/// All fields, as a subscriber may format them.
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value} {value:?}");
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut link = Some(value);
        while let Some(error) = link {
            let _ = write!(self.0, " {field}={error} {error:?}");
            link = error.source();
        }
    }
}

mod tests {
    use tracing::{Instrument, trace, trace_span};

    use super::*;
    use crate::canaries::{Canary, Output};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_logged_anywhere_is_kept() {
        keep();
        let canaries: Vec<_> =
            ["message", "field", "span", "later field", "thread", "error"].map(Canary::secret).into();
        let texts: Vec<_> = canaries.iter().map(ToString::to_string).collect();
        let moved = texts.clone();
        let task = async move {
            trace!(target: "far_away", field = ?moved[1].as_bytes(), "a message: {}", moved[0]);
            tracing::Span::current().record("later", &moved[3]);
            std::thread::spawn(move || {
                trace!(text = moved[4]);
                let error = std::io::Error::other("outer");
                let error = requestforge::StorageError::new("s").with_source(error);
                let error = error.with_source(std::io::Error::other(moved[5].clone()));
                trace!(error = &error as &(dyn Error + 'static));
            })
            .join()
            .expect("no panic");
        };
        let span = trace_span!("a span", text = texts[2], later = tracing::field::Empty);
        tokio::spawn(task.instrument(span)).await.expect("no panic");
        let all: String = lines().into_iter().map(|line| line.text + "\n").collect();
        trace!("a line that comes twice");
        trace!("a line that comes twice");
        assert_eq!(times(|line| line.text.contains("a line that comes twice")), 2);
        for (canary, text) in canaries.iter().zip(texts) {
            assert!(canary.found_in(&Output::new(&all)).is_some(), "{text}");
        }
    }
}
