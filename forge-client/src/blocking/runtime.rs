//! The one runtime behind all blocking objects of a process.

use std::future::Future;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ConfigError};
use tokio::runtime::{Builder, Handle};

use crate::HttpClientError;

/// Waits for a future, which is polled on this thread. Its timers, sockets and tasks belong to the runtime.
pub(super) fn block_on<F: Future>(future: F) -> Result<F::Output, BlockingRefusal> {
    check_thread()?;
    Ok(handle()?.block_on(future))
}

/// Refuses a thread that must not wait.
pub(super) fn check_thread() -> Result<(), BlockingRefusal> {
    match Handle::try_current() {
        Ok(_) => Err(BlockingRefusal::WrongThread(IN_A_RUNTIME)),
        Err(error) if error.is_thread_local_destroyed() => Err(BlockingRefusal::WrongThread(ENDING)),
        Err(_) => Ok(()),
    }
}

const IN_A_RUNTIME: &str = "a thread that no async runtime has entered: there use the async client, and instead \
                            of `spawn_blocking` a thread of your own";
const ENDING: &str = "a thread that is not about to end";
const FORKED: &str = "the process that made the first blocking call, not one that was forked off later";

/// Why this thread cannot wait.
#[derive(Debug)]
pub(super) enum BlockingRefusal {
    /// The calls belong on another thread or process, which this text describes.
    WrongThread(&'static str),
    NoThread(io::Error),
}

struct Runtime {
    handle: Handle,
    process: u32,
}

/// The runtime of the process. Nothing drops it: that would have to wait, on a thread that may not.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
static STARTING: Mutex<()> = Mutex::new(());

fn handle() -> Result<&'static Handle, BlockingRefusal> {
    let runtime = match RUNTIME.get() {
        Some(runtime) => runtime,
        None => start_once().map_err(BlockingRefusal::NoThread)?,
    };
    runtime.handle_in(std::process::id())
}

fn start_once() -> io::Result<&'static Runtime> {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // Order: start it before the cell is set. A cell would keep an error that may be gone at the next call.
    let runtime = start()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

impl Runtime {
    /// Refuses a forked process. It has a copy of the memory but not the thread of the runtime, so a call would
    /// wait for ever.
    fn handle_in(&self, process: u32) -> Result<&Handle, BlockingRefusal> {
        if self.process == process { Ok(&self.handle) } else { Err(BlockingRefusal::WrongThread(FORKED)) }
    }
}

fn start() -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name("requestforge-blocking".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(Runtime { handle, process: std::process::id() })
}

impl From<BlockingRefusal> for HttpClientError {
    fn from(unavailable: BlockingRefusal) -> Self {
        let error = ConfigError::new("blocking", unavailable.expected());
        match unavailable {
            BlockingRefusal::WrongThread(_) => error.into(),
            BlockingRefusal::NoThread(source) => error.with_source(source).into(),
        }
    }
}

impl From<BlockingRefusal> for AuthenticationError {
    fn from(unavailable: BlockingRefusal) -> Self {
        let error = Self::new("", AuthenticationErrorKind::Configuration)
            .with_message(format!("expected {}", unavailable.expected()));
        match unavailable {
            BlockingRefusal::WrongThread(_) => error,
            BlockingRefusal::NoThread(source) => error.with_source(source),
        }
    }
}

impl BlockingRefusal {
    fn expected(&self) -> &'static str {
        match self {
            Self::WrongThread(expected) => expected,
            Self::NoThread(_) => "a thread for the runtime",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_process_is_told_and_does_not_wait_for_a_thread_it_does_not_have() {
        let runtime = start().unwrap();
        let this = std::process::id();
        assert!(runtime.handle_in(this).is_ok());
        let refused = runtime.handle_in(this + 1).unwrap_err();
        let error = HttpClientError::from(refused);
        assert!(error.is_builder() && error.to_string().contains("forked"), "{error}");
    }
}
