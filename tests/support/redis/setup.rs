//! The settings to start a server with, in a container and as a process.

use crate::redis::ask::Access;
use crate::redis::tls;

/// These arguments keep a server from writing to disk, and let it answer all clients. Only this machine can
/// reach it.
const SETTINGS: [&str; 6] = ["--save", "", "--appendonly", "no", "--protected-mode", "no"];

pub(super) struct Setup {
    /// The port on 127.0.0.1. The server has the same port within a container.
    pub(super) port: u16,
    pub(super) access: Access,
    /// All of its arguments.
    pub(super) arguments: Vec<String>,
    /// Names and contents of the files in the server's working folder.
    pub(super) files: Vec<(String, String)>,
}

impl Setup {
    /// A server that stores nothing on disk, with more arguments.
    pub(super) fn new(port: u16, access: &Access, args: &[&str]) -> Self {
        let mut setup = Self { port, access: access.clone(), arguments: Vec::new(), files: Vec::new() };
        setup.add(&SETTINGS);
        setup.listen();
        setup.add(args);
        setup
    }

    /// A sentinel. It writes into its configuration what it learns.
    pub(super) fn sentinel(port: u16, access: &Access, configuration: String, args: &[&str]) -> Self {
        let name = "sentinel.conf";
        let files = vec![(name.to_owned(), configuration)];
        let mut setup = Self { port, access: access.clone(), arguments: Vec::new(), files };
        setup.add(&[name, "--sentinel", "--protected-mode", "no"]);
        setup.listen();
        setup.add(args);
        setup
    }

    fn listen(&mut self) {
        let port = self.port.to_string();
        match self.access.tls.clone() {
            None => self.add(&["--port", &port]),
            Some(tls) => {
                self.add(&["--port", "0", "--tls-port", &port]);
                self.add(&tls::ARGUMENTS);
                self.files.extend(tls.files());
            }
        }
    }

    fn add(&mut self, args: &[&str]) {
        self.arguments.extend(args.iter().map(ToString::to_string));
    }
}
