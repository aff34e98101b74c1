use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::{Api, AuthorizationServer};
use requestforge::{HttpClient, HttpResponse, ServiceConfig};
use serde_json::{Value, json};

/// An authorization server, an API that wants its tokens, and files with the secrets of the client.
pub(crate) struct World {
    pub(crate) server: AuthorizationServer,
    pub(crate) api: Api,
    pub(crate) secret: SecretFile,
    pub(crate) password: SecretFile,
}

impl World {
    pub(crate) async fn start() -> Self {
        let server = AuthorizationServer::start().await.expect("a server");
        let api = Api::start(&server).await.expect("an API");
        let secret = SecretFile::new(&format!("{}\n", server.client_secret()));
        let password = SecretFile::new(server.password());
        Self { server, api, secret, password }
    }

    /// A service with all fields that it needs.
    pub(crate) fn service(&self) -> Value {
        json!({
            "base_url": self.api.base_url(),
            "token_url": self.server.token_url(),
            "client_id": self.server.client_id(),
            "client_secret": { "file": self.secret.path() },
        })
    }
}

/// A file that is deleted when this value is dropped.
pub(crate) struct SecretFile(PathBuf);

impl SecretFile {
    pub(crate) fn new(content: &str) -> Self {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let number = FILES.fetch_add(1, Ordering::SeqCst);
        let name = format!("config-{}-{number}", std::process::id());
        let file = Self(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
        file.write(content);
        file
    }

    pub(crate) fn write(&self, content: &str) {
        fs::write(&self.0, content).expect("a file");
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        _ = fs::remove_file(&self.0);
    }
}

/// One service, read from each format.
pub(crate) fn in_each_format(fields: &Value) -> [(&'static str, ServiceConfig); 2] {
    let json = serde_json::from_str(&fields.to_string()).expect("a service in JSON");
    let toml = toml::from_str(&as_toml(fields)).expect("a service in TOML");
    [("JSON", json), ("TOML", toml)]
}

/// The fields as inline TOML, which is like JSON except for the colons.
pub(crate) fn as_toml(fields: &Value) -> String {
    let fields = fields.as_object().expect("fields");
    let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name:?} = {}", inline(value))).collect();
    lines.join("\n") + "\n"
}

fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: Vec<_> =
                entries.iter().map(|(name, value)| format!("{name:?} = {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

pub(crate) async fn get(client: &HttpClient, path: &str) -> HttpResponse {
    client.get(path).send().await.expect("an answer")
}
