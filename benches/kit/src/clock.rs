use std::time::Duration;

/// The time that the calling thread has spent on a processor. On a machine with other load it says more than
/// the wall clock, because it does not count the time during which the thread is preempted.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime(Duration);

/// The processor time of all threads of this process together.
#[derive(Clone, Copy, Debug)]
pub struct ProcessTime(Duration);

impl CpuTime {
    /// The current reading for this thread. Systems without such a clock use the wall clock.
    pub fn now() -> Self {
        Self(read::thread())
    }

    /// The time that this thread has spent since this reading.
    pub fn elapsed(self) -> Duration {
        read::thread().saturating_sub(self.0)
    }
}

impl ProcessTime {
    /// The current reading for this process. Systems without such a clock use the wall clock.
    pub fn now() -> Self {
        Self(read::process())
    }

    /// The time that the threads have spent since this reading.
    pub fn elapsed(self) -> Duration {
        read::process().saturating_sub(self.0)
    }
}

#[cfg(target_os = "linux")]
mod read {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    pub(super) fn thread() -> Duration {
        read(ClockId::ThreadCPUTime)
    }

    pub(super) fn process() -> Duration {
        read(ClockId::ProcessCPUTime)
    }

    fn read(clock: ClockId) -> Duration {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
}

#[cfg(not(target_os = "linux"))]
mod read {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    pub(super) use wall as process;
    pub(super) use wall as thread;

    pub(super) fn wall() -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}
