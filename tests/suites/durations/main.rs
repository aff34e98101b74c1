//! Sets every duration to zero, to the least and to the most. Each is a clear error of `build()`, or works, in
//! background tasks too. The most is as good as for ever.

#![allow(clippy::expect_used)]

mod client;
mod configured;
mod extremes;
mod setting;
mod steps;
mod strategies;
mod tokens;
