//! Who runs on which processor. Where two processes talk to each other one request at a time, it makes far more
//! difference whether they share one than what they do.

use crate::Result;

pub(crate) use imp::{stay_on, two};

#[cfg(target_os = "linux")]
mod imp {
    use std::fs;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::Result;

    /// Two that this process may use, if there are as many, and not of one core: that has but one cache.
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

    /// Has this thread, and the threads and processes that it starts, run on this processor alone.
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
