//! Runs other programs and prints their command lines, so that a reader can repeat each step.

use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::iter;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::say;

/// A cargo command in `root`: the cargo that started xtask, so that the toolchain is the same.
pub(crate) fn cargo(root: impl AsRef<Path>) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        // `cargo run` describes xtask in these, and build scripts of some dependencies watch them.
        // Handed on, they would rebuild those crates at each change between xtask and plain cargo.
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a program to its end, with its output where ours goes.
///
/// # Errors
///
/// When it cannot be started or does not succeed.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    say(format_args!("$ {}", line(command)));
    let status = command.status().map_err(|error| not_started(command, &error))?;
    succeeded(command, status)
}

/// Runs a program to its end and returns what it printed on standard output.
///
/// # Errors
///
/// When it cannot be started or does not succeed; then with what it printed on standard error.
pub(crate) fn capture(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| not_started(command, &error))?;
    succeeded(command, output.status)
        .map_err(|error| format!("{error}\n{}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that has `limit` to come to its end, and returns what it printed on standard output.
///
/// # Errors
///
/// When it cannot be started, does not succeed or takes too long; then with what it printed on standard
/// error.
pub(crate) fn capture_within(command: &mut Command, limit: Duration) -> Result<String, String> {
    read_within(command.stderr(Stdio::piped()), limit)
}

/// As [`capture_within`], with the program's standard error where ours goes.
///
/// # Errors
///
/// When it cannot be started, does not succeed or takes too long.
pub(crate) fn listen_within(command: &mut Command, limit: Duration) -> Result<String, String> {
    read_within(command.stderr(Stdio::inherit()), limit)
}

fn read_within(command: &mut Command, limit: Duration) -> Result<String, String> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = piped.spawn().map_err(|error| not_started(command, &error))?;
    // Read while it runs, since a full pipe would hold it up.
    let (out, err) = (child.stdout.take().map(read_all), child.stderr.take().map(read_all));
    let text = |stream: Option<Receiver<String>>| {
        // A child of the program may hold the pipe open for ever, so the wait is short.
        stream.and_then(|stream| stream.recv_timeout(Duration::from_secs(1)).ok()).unwrap_or_default()
    };
    let ended = match wait_at_most(&mut child, limit) {
        Ok(Some(status)) => succeeded(command, status),
        Ok(None) => Err(format!("`{}` took more than {} s", name(command), limit.as_secs())),
        Err(error) => Err(format!("cannot wait for `{}`: {error}", name(command))),
    };
    ended.map_err(|error| format!("{error}\n{}", text(err)).trim_end().to_owned())?;
    Ok(text(out))
}

fn read_all(mut stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // After an error the bytes read so far are still useful.
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Runs a program quietly: its output goes to the file `log`, and it has `limit` to come to its end.
///
/// # Errors
///
/// When it cannot be started, does not succeed or takes too long; then with what it printed.
pub(crate) fn run_quietly(command: &mut Command, limit: Duration, log: &Path) -> Result<(), String> {
    say(format_args!("$ {}", line(command)));
    let no_log = |error| format!("cannot write {}: {error}", log.display());
    let out = File::create(log).map_err(no_log)?;
    let err = out.try_clone().map_err(no_log)?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    let ended = match wait_at_most(&mut child, limit) {
        Ok(Some(status)) => succeeded(command, status),
        Ok(None) => Err(format!("`{}` took more than {} s", line(command), limit.as_secs())),
        Err(error) => Err(format!("cannot wait for `{}`: {error}", line(command))),
    };
    ended.map_err(|error| format!("{error}\n{}", tail(log)))
}

/// The end of a log file, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    // Logs of other programs need not be UTF-8.
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// `None` after a time-out; then the process was killed.
fn wait_at_most(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() >= limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<(), String> {
    if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", name(command))) }
}

/// The beginning of the command line, which `run` has printed in full.
fn name(command: &Command) -> String {
    let mut words = program_and_args(command);
    if is_cargo(command) {
        words.truncate(2);
    }
    words.join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}", line(command))
}

/// The command as one would type it.
fn line(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value.and_then(OsStr::to_str) {
            // A long value is data for the program, such as the credentials of a test server.
            let shown = if value.len() <= 32 { quoted(value) } else { "…".into() };
            words.push(format!("{}={shown}", name.to_string_lossy()));
        }
    }
    words.extend(program_and_args(command));
    words.join(" ")
}

fn program_and_args(command: &Command) -> Vec<String> {
    let program = command.get_program().to_string_lossy();
    // The path of cargo is the same in all lines; the paths of other programs matter.
    let program = if is_cargo(command) { "cargo".into() } else { quoted(&program) };
    let args = command.get_args().map(|arg| quoted(&arg.to_string_lossy()));
    iter::once(program).chain(args).collect()
}

fn is_cargo(command: &Command) -> bool {
    Path::new(command.get_program()).file_stem() == Some(OsStr::new("cargo"))
}

fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '"', '\'', '$', ';', '(']) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_can_be_typed() {
        let mut command = Command::new("/opt/bin/cargo");
        command.args(["doc", "--features", "a/b c"]).env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(line(&command), "RUSTDOCFLAGS='-D warnings' cargo doc --features 'a/b c'");
    }

    #[test]
    fn long_values_are_not_shown() {
        let mut command = Command::new("cargo");
        command.env("FORGE_DJANGO", "{\"client_secret\":\"not for the terminal\"}");
        assert_eq!(line(&command), "FORGE_DJANGO=… cargo");
    }
}
