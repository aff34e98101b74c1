//! Kinds of authentication: what each sends, what several of them do together, and what a request may say.

#![allow(clippy::expect_used)]

mod kinds;
mod requests;
mod world;
