//! Captures the log lines of this crate, for tests.

use std::fmt::{Debug, Write};
use std::sync::{LazyLock, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps all log lines of all threads from now on.
pub(crate) fn capture() {
    static KEPT: LazyLock<()> = LazyLock::new(|| {
        tracing::subscriber::set_global_default(CapturingSubscriber).expect("no other subscriber");
    });
    *KEPT;
}

/// The lines of this level that name all of these words, such as the address of a server.
pub(crate) fn lines(level: &str, words: &[&str]) -> Vec<String> {
    let is_meant = |line: &&String| line.starts_with(level) && words.iter().all(|word| line.contains(word));
    LINES.lock().unwrap().iter().filter(is_meant).cloned().collect()
}

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct CapturingSubscriber;

impl Subscriber for CapturingSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("forge_storage_redis")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        LINES.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}
