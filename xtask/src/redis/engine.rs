//! A container engine, by the API that Docker has and Podman, too. No command line tool is needed, and
//! the address is the one that the tests will use.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::redis::http::{Address, Body, Request, Response, encoded, send};

/// An installed engine answers at once.
const PING: Duration = Duration::from_secs(5);
/// For what an engine does by itself.
const USUAL: Duration = Duration::from_secs(30);
/// To reach a registry and find the image there,
const REGISTRY: Duration = Duration::from_secs(20);
/// and to have all of it.
const PULL: Duration = Duration::from_secs(120);

pub(crate) struct Engine {
    address: Address,
}

/// A container, as lists show it.
pub(crate) struct ListedContainer {
    pub(crate) id: String,
    /// When it was made, in seconds since 1970.
    pub(crate) created: u64,
}

impl Engine {
    /// The engine that the tests would use, if it answers.
    ///
    /// # Errors
    ///
    /// When none does, or when its containers would not be on this machine.
    pub(crate) fn find() -> Result<Self, String> {
        let host = env::var("DOCKER_HOST").ok();
        let (name, address) = match &host {
            Some(host) => (host.clone(), address(host)?),
            None => default_address()?,
        };
        let engine = Self { address };
        let refused = |why: String| format!("the engine at {name}: {why}");
        let answer = engine.request("GET", "/_ping", Body::Nothing, PING).map_err(refused)?;
        let fine = answer.status == 200;
        if fine { Ok(engine) } else { Err(refused(format!("its answer is {}", told(&answer)))) }
    }

    pub(crate) fn has_image(&self, image: &str) -> Result<bool, String> {
        let answer = self.request("GET", &format!("/images/{image}/json"), Body::Nothing, USUAL)?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(told(&answer)),
        }
    }

    /// The tags of a repository with the time of their making, as `REPOSITORY:TAG`.
    pub(crate) fn tags(&self, repository: &str) -> Result<Vec<(String, u64)>, String> {
        let filters = encoded(&json!({ "reference": [repository] }).to_string());
        let images = self.json("GET", &format!("/images/json?filters={filters}"), Body::Nothing)?;
        let images = images.as_array().into_iter().flatten();
        Ok(images
            .flat_map(|image| {
                let created = image["Created"].as_u64().unwrap_or(0);
                let tags = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
                tags.map(move |tag| (tag.to_owned(), created)).collect::<Vec<_>>()
            })
            .collect())
    }

    /// Has the engine fetch an image from a registry.
    pub(crate) fn pull(&self, repository: &str, tag: &str) -> Result<(), String> {
        let path = format!("/images/create?fromImage={repository}&tag={tag}");
        let request = Request { method: "POST", path, body: Body::Nothing, first: REGISTRY, limit: PULL };
        let answer = send(&self.address, request)?;
        // The last line of the progress reports a later error.
        let last = answer.body.lines().last().unwrap_or_default();
        let failed = serde_json::from_str(last).is_ok_and(|line: Value| line.get("error").is_some());
        if answer.status == 200 && !failed { Ok(()) } else { Err(told(&answer)) }
    }

    /// Makes an image of a file system in a tar file.
    pub(crate) fn import(&self, tar: &Path, repository: &str, tag: &str) -> Result<(), String> {
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag={tag}");
        let answer = self.request("POST", &path, Body::Tar(tar.to_owned()), PULL)?;
        if answer.status == 200 && self.has_image(&format!("{repository}:{tag}"))? {
            Ok(())
        } else {
            Err(told(&answer))
        }
    }

    /// Creates a container that publishes `port` on a free port of the loopback interface.
    pub(crate) fn create(
        &self,
        image: &str,
        command: &[&str],
        label: &(String, String),
        port: &str,
    ) -> Result<String, String> {
        let (key, value) = label;
        let settings = json!({
            "Image": image,
            "Cmd": command,
            "Labels": { key: value },
            "ExposedPorts": { port: {} },
            "HostConfig": { "PortBindings": { port: [{ "HostIp": "127.0.0.1", "HostPort": "" }] } },
        });
        let created = self.json("POST", "/containers/create", Body::Json(settings.to_string()))?;
        created["Id"].as_str().map(ToOwned::to_owned).ok_or_else(|| "the container has no id".into())
    }

    /// Starts a container and returns where its `port` is on this machine.
    pub(crate) fn start(&self, id: &str, port: &str) -> Result<u16, String> {
        let answer = self.request("POST", &format!("/containers/{id}/start"), Body::Nothing, USUAL)?;
        if answer.status >= 300 {
            return Err(told(&answer));
        }
        let container = self.json("GET", &format!("/containers/{id}/json"), Body::Nothing)?;
        let published = &container["NetworkSettings"]["Ports"][port][0]["HostPort"];
        let published = published.as_str().and_then(|published| published.parse().ok());
        published.ok_or_else(|| "the container has ended or has not published its port".into())
    }

    /// The containers with a label, `KEY` or `KEY=VALUE`, also those that have ended.
    pub(crate) fn containers(&self, label: &str) -> Result<Vec<ListedContainer>, String> {
        let filters = encoded(&json!({ "label": [label] }).to_string());
        let path = format!("/containers/json?all=true&filters={filters}");
        let containers = self.json("GET", &path, Body::Nothing)?;
        let containers = containers.as_array().into_iter().flatten();
        Ok(containers
            .filter_map(|container| {
                let id = container["Id"].as_str()?.to_owned();
                // Podman writes the time as a number or as text, depending on its version. `None` is "just
                // now".
                let created = container["Created"].as_u64().unwrap_or(u64::MAX);
                Some(ListedContainer { id, created })
            })
            .collect())
    }

    /// Removes a container, also one that runs or is gone already.
    pub(crate) fn remove(&self, id: &str) -> Result<(), String> {
        let path = format!("/containers/{id}?force=true&v=true");
        let answer = self.request("DELETE", &path, Body::Nothing, USUAL)?;
        // 409: another request is removing the container.
        if answer.status < 300 || matches!(answer.status, 404 | 409) { Ok(()) } else { Err(told(&answer)) }
    }

    fn json(&self, method: &'static str, path: &str, body: Body) -> Result<Value, String> {
        let answer = self.request(method, path, body, USUAL)?;
        let json = serde_json::from_str(&answer.body).ok().filter(|_| answer.status < 300);
        json.ok_or_else(|| told(&answer))
    }

    fn request(
        &self,
        method: &'static str,
        path: &str,
        body: Body,
        limit: Duration,
    ) -> Result<Response, String> {
        send(&self.address, Request { method, path: path.into(), body, first: limit, limit })
    }
}

/// The message in the answer of the engine.
fn told(answer: &Response) -> String {
    let last = answer.body.lines().last().unwrap_or_default().trim();
    let json: Value = serde_json::from_str(last).unwrap_or_default();
    let message = ["message", "error"].iter().find_map(|key| json[*key].as_str()).unwrap_or(last);
    if message.is_empty() { format!("status {}", answer.status) } else { message.trim().to_owned() }
}

/// An address in the format of `DOCKER_HOST`.
fn address(host: &str) -> Result<Address, String> {
    #[cfg(unix)]
    if let Some(path) = host.strip_prefix("unix://") {
        return Ok(Address::Unix(path.into()));
    }
    let Some(authority) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")) else {
        return Err(format!("DOCKER_HOST is `{host}`, expected unix://… or tcp://…"));
    };
    let authority = authority.trim_end_matches('/');
    let (name, port) = authority.rsplit_once(':').unwrap_or((authority, "2375"));
    // The tests connect to nothing but this machine, and that is where containers publish their ports.
    if matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
        Ok(Address::Tcp(format!("{name}:{port}")))
    } else {
        Err(format!("DOCKER_HOST is `{host}`, expected an engine on this machine"))
    }
}

/// The address of an engine if `DOCKER_HOST` is not set. The places and their order are those of testcontainers.
#[cfg(unix)]
fn default_address() -> Result<(String, Address), String> {
    let below = |variable: &str, path: &str| {
        env::var_os(variable).filter(|folder| !folder.is_empty()).map(|folder| Path::new(&folder).join(path))
    };
    let places: Vec<PathBuf> = [
        Some("/var/run/docker.sock".into()),
        below("XDG_RUNTIME_DIR", ".docker/run/docker.sock"),
        below("HOME", ".docker/run/docker.sock"),
        below("HOME", ".docker/desktop/docker.sock"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let socket = places.into_iter().find(|place| place.exists());
    let socket = socket.ok_or("DOCKER_HOST is not set, and Docker's socket does not exist")?;
    Ok((format!("unix://{}", socket.display()), Address::Unix(socket)))
}

#[cfg(not(unix))]
fn default_address() -> Result<(String, Address), String> {
    Err("DOCKER_HOST is not set, and named pipes are not supported".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_engines_on_this_machine_will_do() {
        assert_eq!(address("tcp://localhost:2375"), Ok(Address::Tcp("localhost:2375".into())));
        assert_eq!(address("tcp://127.0.0.1"), Ok(Address::Tcp("127.0.0.1:2375".into())));
        for other in ["tcp://docker:2375", "tcp://127.0.0.1.example.com:1", "ssh://user@host", ""] {
            assert!(address(other).is_err(), "{other}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn sockets_are_files() {
        assert_eq!(address("unix:///run/x.sock"), Ok(Address::Unix("/run/x.sock".into())));
    }

    #[test]
    fn an_engine_is_quoted() {
        let answer = |body: &str| Response { status: 500, body: body.into() };
        assert_eq!(told(&answer(r#"{"message":"no such host\n"}"#)), "no such host");
        assert_eq!(told(&answer("{\"status\":\"Pulling\"}\r\n{\"error\":\"denied\"}\r\n")), "denied");
        assert_eq!(told(&answer("")), "status 500");
    }
}
