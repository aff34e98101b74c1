//! Delays and deadlines.

mod backoff;
mod deadline;

pub(crate) use backoff::{Backoff, until_over};
pub(crate) use deadline::within;
