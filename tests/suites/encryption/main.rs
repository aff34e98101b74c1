//! Encrypted tokens: managers go on while keys rotate, and the storage holds nothing that is of use to
//! anybody.

#![allow(clippy::expect_used)]

#[path = "../canary/canaries.rs"]
mod canaries;
#[path = "../servers/connection.rs"]
mod connection;
#[path = "../canary/logs.rs"]
mod logs;
mod plain;
mod redis;
mod rotation;
mod secrets;
mod unreadable;
mod world;
