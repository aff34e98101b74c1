//! A way to start Redis servers, which is the answer of the finder.

use std::fmt;

use serde_json::{Map, Value, json};

/// The oldest version of Redis that the tests can use.
pub(crate) const MINIMUM: u32 = 7;

/// A way to start servers.
pub(crate) enum Server {
    /// In containers of an image.
    Container {
        image: String,
        version: String,
        /// The label that every container must have, so that the finder can remove it.
        label: (String, String),
    },
    /// As processes.
    Native {
        /// The program, and the arguments that come before those of Redis.
        command: Vec<String>,
        version: String,
    },
}

impl Server {
    /// The answer for programs that start servers. `other` is the other kind that this machine could start.
    pub(crate) fn to_json(&self, other: Option<&Self>) -> Value {
        let mut json = match self {
            Self::Container { image, version, label: (key, value) } => {
                let labels = Map::from_iter([(key.clone(), json!(value))]);
                json!({
                    "kind": "container",
                    "version": version,
                    "image": image,
                    // Our own image has no entrypoint that would add it.
                    "command": ["redis-server"],
                    "labels": labels,
                })
            }
            Self::Native { command, version } => {
                json!({ "kind": "native", "version": version, "command": command })
            }
        };
        if let Some(other) = other {
            json["other"] = other.to_json(None);
        }
        json
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container { image, version, .. } => {
                write!(f, "containers of the image {image} (version {version})")
            }
            Self::Native { command, version } => {
                let program = command.last().map_or("", String::as_str);
                write!(f, "processes of {program} (version {version})")
            }
        }
    }
}

/// Refuses a version that is too old.
///
/// # Errors
///
/// With the version, or what stood in its place.
pub(crate) fn new_enough(version: &str) -> Result<(), String> {
    let major: Option<u32> = version.split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(major) if major >= MINIMUM => Ok(()),
        Some(_) => Err(format!("its version is {version}, and the tests need {MINIMUM} or later")),
        None => Err(format!("`{version}` is not a version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for good in ["7.0.15", "7", "8.1.1", "10.0.0"] {
            assert_eq!(new_enough(good), Ok(()), "{good}");
        }
        assert!(new_enough("6.2.14").is_err_and(|why| why.contains("6.2.14")));
        assert!(new_enough("").is_err());
    }

    #[test]
    fn the_answer_says_how_to_start_a_server() {
        let native = Server::Native { command: vec!["/bin/redis-server".into()], version: "7.0.15".into() };
        let container = Server::Container {
            image: "redis:7.4.6".into(),
            version: "7.4.6".into(),
            label: ("requestforge.run".into(), "1-2".into()),
        };
        let expected = json!({
            "kind": "container",
            "version": "7.4.6",
            "image": "redis:7.4.6",
            "command": ["redis-server"],
            "labels": { "requestforge.run": "1-2" },
            "other": { "kind": "native", "version": "7.0.15", "command": ["/bin/redis-server"] },
        });
        assert_eq!(container.to_json(Some(&native)), expected);
    }
}
