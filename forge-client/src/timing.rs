//! Delays and deadlines.

mod backoff;
mod deadline;
mod schedule;

pub(crate) use backoff::{Backoff, until_over};
pub(crate) use deadline::within;
pub(crate) use schedule::{RepeatSchedule, backoff_setters, fixed_delay_setters};
