//! The README's first command, run as a newcomer runs it.

#![allow(clippy::expect_used)]

use std::process::Command;

#[test]
fn every_promise_of_the_quickstart_holds() {
    let mut command = Command::new(env!("CARGO"));
    // What would make it turn to servers of the caller's own.
    for name in
        ["TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "SCOPE", "AUTH_METHOD", "GET_URL"]
    {
        command.env_remove(format!("REQUESTFORGE_{name}"));
    }
    let run = command
        .args(["run", "--quiet", "--package", "requestforge", "--example", "quickstart"])
        .output()
        .expect("cargo");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    println!("{told}");
}
