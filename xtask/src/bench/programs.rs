//! The programs that measure.

use std::path::PathBuf;
use std::process::Command;

use cargo_metadata::Metadata;

use super::suites::{Program, Suite};
use crate::command::{cargo, run};
use crate::workspace::SUITES;

/// Both programs, where they are needed, built as users build: in release, with cargo's own settings.
pub(crate) struct Programs {
    root: PathBuf,
    folder: PathBuf,
}

impl Programs {
    /// Builds what the suites need.
    ///
    /// # Errors
    ///
    /// When it does not build.
    pub(crate) fn build(workspace: &Metadata, suites: &[&Suite]) -> Result<Self, String> {
        let root = workspace.workspace_root.as_std_path();
        let needed = |program| suites.iter().any(|suite| suite.program == program);
        if needed(Program::Ours) {
            // With the processes of the suite `fleet`.
            let mut command = cargo(root);
            command.args(["build", "--release", "--bins", "--package", OURS]);
            run(command.args(["--package", SUITES, "--features", "forge-tests/fleet"]))?;
        }
        if needed(Program::Peers) {
            let mut command = cargo(root);
            command.args(["build", "--release", "--locked", "--manifest-path", "benches/peers/Cargo.toml"]);
            // Its own workspace would have a target folder of its own.
            run(command.args(["--target-dir", workspace.target_directory.as_str()]))?;
        }
        let folder = workspace.target_directory.join("release").into_std_path_buf();
        Ok(Self { root: root.to_path_buf(), folder })
    }

    /// The file of a program.
    pub(crate) fn file(&self, program: Program) -> PathBuf {
        let name = match program {
            Program::Ours => OURS,
            Program::Peers => PEERS,
        };
        self.folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// A program, to be run in the workspace's folder.
    pub(crate) fn command(&self, program: Program) -> Command {
        self.within_root(self.file(program))
    }

    /// Another program, to be run in the workspace's folder.
    pub(crate) fn within_root(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }
}

const OURS: &str = "forge-benches";
const PEERS: &str = "forge-peers";
