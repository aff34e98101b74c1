//! Encrypted tokens. Managers go on while keys rotate, and a reader of the storage cannot use its contents.

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
