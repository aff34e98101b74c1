//! The example of an SDK with a client of its own, started as a new user starts it.

#![allow(clippy::expect_used)]

use std::process::Command;

#[test]
fn every_promise_of_the_sdk_example_holds() {
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "forge-examples", "--bin", "sdk"])
        .output()
        .expect("cargo");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    println!("{told}");
}
