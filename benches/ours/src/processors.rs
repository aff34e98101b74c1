//! Assigns processes to processors. If two processes talk to each other one request at a time, the time
//! depends more on whether they share a processor than on their work.

use crate::Result;

pub(crate) use imp::{stay_on, two};

#[cfg(target_os = "linux")]
mod imp {
    use std::fs;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::Result;

    /// Two processors that this process may use, if there are two of different cores. Processors of one core
    /// share its cache.
    pub(crate) fn two() -> Option<(usize, usize)> {
        let allowed = sched_getaffinity(None).ok()?;
        let mut processors = (0..CpuSet::MAX_CPU).filter(|processor| allowed.is_set(*processor));
        let first = processors.next()?;
        let core = core_of(first);
        Some((first, processors.find(|other| core.is_none() || core_of(*other) != core)?))
    }

    /// The processors that share a core with this one, if the system says so.
    fn core_of(processor: usize) -> Option<String> {
        fs::read_to_string(format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list"))
            .ok()
    }

    /// Restricts this thread, and the threads and processes that it starts, to this processor.
    pub(crate) fn stay_on(processor: usize) -> Result<()> {
        let mut only = CpuSet::new();
        only.set(processor);
        Ok(sched_setaffinity(None, &only)?)
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use super::Result;

    pub(crate) fn two() -> Option<(usize, usize)> {
        None
    }

    pub(crate) fn stay_on(processor: usize) -> Result<()> {
        Err(format!("no way to stay on processor {processor} here").into())
    }
}
