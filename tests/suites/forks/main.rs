//! Workers that are forked off one process are different members of a fleet (invariant 32): each has its own
//! leases, announcements and correlation ids.
//!
//! A fork needs a process with one thread, so each case starts this program once more. That process prepares
//! what its workers inherit, forks, and becomes one of them.

#![allow(clippy::expect_used)]

#[cfg(unix)]
mod cases;
#[cfg(unix)]
#[path = "../servers/connection.rs"]
mod connection;
#[cfg(unix)]
mod worker;
#[cfg(unix)]
mod world;

#[cfg(unix)]
fn main() -> std::process::ExitCode {
    match world::Order::given() {
        Some(order) => worker::fork_and_work(&order),
        None => cases::run(),
    }
}

#[cfg(not(unix))]
fn main() {
    println!("there are no forks on this system");
}
