use std::sync::Arc;

use forge_core::{Clock, ClockReading, SystemClock};

/// By which clock a manager judges. The machine's is not asked through a pointer: a hit does little more
/// than reading it.
pub(crate) enum ManagerClock {
    System,
    Custom(Arc<dyn Clock>),
}

impl ManagerClock {
    #[expect(clippy::inline_always, reason = "a hit is hardly more than this")]
    #[inline(always)]
    pub(crate) fn now(&self) -> ClockReading {
        match self {
            Self::System => SystemClock.now(),
            Self::Custom(clock) => clock.now(),
        }
    }
}
