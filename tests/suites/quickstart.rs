//! The README's first command, started as a new user starts it.

#![allow(clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn every_promise_of_the_quickstart_holds() {
    let run = quickstart().output().expect("cargo");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    println!("{told}");
}

/// The reader stops after the first line, as in `… | head -1`.
#[test]
fn who_reads_only_its_beginning_sees_no_panic() {
    let mut run = quickstart().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cargo");
    let mut line = String::new();
    let told = run.stdout.take().expect("a pipe");
    BufReader::new(told).read_line(&mut line).expect("a line");
    let run = run.wait_with_output().expect("an end");
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && !errors.contains("panicked"), "{line}\n{errors}");
}

fn quickstart() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "requestforge", "--example", "quickstart"]);
    // With these variables the example would use the caller's own servers.
    for name in
        ["TOKEN_URL", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_SECRET_FILE", "SCOPE", "AUTH_METHOD", "GET_URL"]
    {
        command.env_remove(format!("REQUESTFORGE_{name}"));
    }
    command
}
