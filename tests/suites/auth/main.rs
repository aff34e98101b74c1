//! Kinds of authentication: what each sends, how several work together, and what a request may choose.

#![allow(clippy::expect_used)]

mod kinds;
mod requests;
mod world;
