//! Finds a way to start servers: the environment names it, or else `cargo xtask redis` does.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::server::lock;

const VARIABLE: &str = "FORGE_REDIS";

/// The ways to start servers on this machine.
pub(super) struct Finding {
    pub(super) server: FinderOutcome,
    /// The other kind, if the machine has it.
    pub(super) other: Option<FinderOutcome>,
}

/// One way to start servers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FinderOutcome {
    Container(Image),
    Native(Vec<String>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) name: String,
    pub(super) tag: String,
    pub(super) command: Vec<String>,
    /// The finder removes containers with these labels if their process was killed.
    pub(super) labels: Vec<(String, String)>,
}

/// Looks once per process.
pub(super) async fn found() -> io::Result<&'static Finding> {
    static FOUND: OnceCell<Finding> = OnceCell::const_new();
    FOUND
        .get_or_try_init(|| async {
            let told = match env::var(VARIABLE) {
                Ok(told) => told,
                Err(_) => tokio::task::spawn_blocking(ask).await.map_err(io::Error::other)??,
            };
            parse(&told).map_err(io::Error::other)
        })
        .await
}

/// The finder's answer: a way to start servers, or the reason why there is none.
pub(super) fn parse(told: &str) -> Result<Finding, String> {
    let json: Value = serde_json::from_str(told).unwrap_or_default();
    if let Some(error) = json["error"].as_str() {
        return Err(error.to_owned());
    }
    let finding = || {
        let other = json.get("other").map_or(Some(None), |other| one(other).map(Some))?;
        Some(Finding { server: one(&json)?, other })
    };
    finding().ok_or_else(|| format!("what the finder tells is not understood: {told}"))
}

fn one(told: &Value) -> Option<FinderOutcome> {
    let words = told["command"].as_array()?.iter().map(|word| Some(word.as_str()?.to_owned()));
    let command = words.collect::<Option<Vec<_>>>().filter(|command| !command.is_empty())?;
    match told["kind"].as_str()? {
        "native" => Some(FinderOutcome::Native(command)),
        "container" => {
            let (name, tag) = told["image"].as_str()?.rsplit_once(':')?;
            let labels = told["labels"].as_object()?.iter();
            let labels = labels.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            let labels = labels.collect::<Option<_>>()?;
            Some(FinderOutcome::Container(Image { name: name.into(), tag: tag.into(), command, labels }))
        }
        _ => None,
    }
}

/// The finder. It keeps running, and removes our containers when this process ends in any way: then its
/// standard input ends.
fn ask() -> io::Result<String> {
    static HOLDER: Mutex<Option<Child>> = Mutex::new(None);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["run", "--quiet", "--package", "xtask", "--", "redis", "--hold"]).current_dir(root);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        // These variables describe this crate, and some build scripts watch them.
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    // Only our process handles Ctrl-C. The finder has to clean up after it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.is_empty() {
        let status = child.wait()?;
        return Err(io::Error::other(format!("`cargo xtask redis` ended with {status} and tells nothing")));
    }
    *lock(&HOLDER) = Some(child);
    Ok(line)
}
