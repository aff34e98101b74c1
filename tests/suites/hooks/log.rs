//! Records the log as a subscriber prints it.

use std::io;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Records the log of this thread: the whole log of a test on a runtime of one thread.
pub(crate) struct Log {
    written: Arc<Mutex<Vec<u8>>>,
    _subscriber: DefaultGuard,
}

impl Log {
    pub(crate) fn begin() -> Self {
        let written = Arc::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(Writer(Arc::clone(&written)))
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .without_time()
            .finish();
        Self { written, _subscriber: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines since the last call, without the elapsed times, which differ from run to run.
    pub(crate) fn take(&self) -> Vec<String> {
        let written =
            String::from_utf8(std::mem::take(&mut *self.written.lock().expect("no panic"))).expect("a text");
        let constant = |part: &&str| !part.starts_with("elapsed_ms=");
        written.lines().map(|line| line.split(' ').filter(constant).collect::<Vec<_>>().join(" ")).collect()
    }
}

struct Writer(Arc<Mutex<Vec<u8>>>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Sink;

    fn make_writer(&'a self) -> Sink {
        Sink(Arc::clone(&self.0))
    }
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
