use std::env::VarError;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::{AuthenticationError, AuthenticationErrorKind, Secret};

/// Where a secret comes from. Whatever accepts one reads it before each token call, so that a secret
/// that rotates needs no restart.
///
/// ```
/// use forge_core::SecretSource;
///
/// let given: SecretSource = "s3cret".into();
/// let mounted = SecretSource::file("/run/secrets/client-secret");
/// let in_the_environment = SecretSource::env("CLIENT_SECRET");
/// let from_a_vault = SecretSource::from_fn(|| async { Ok::<_, std::io::Error>("s3cret".into()) });
/// ```
#[derive(Clone)]
pub struct SecretSource(Kind);

#[derive(Clone)]
enum Kind {
    Value(Secret),
    File(PathBuf),
    Env(String),
    Closure(Arc<Closure>),
}

type Closure = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Secret, Failure>> + Send>> + Send + Sync;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl SecretSource {
    /// The content of a file, without one trailing line break.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The value of an environment variable.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Kind::Env(name.into()))
    }

    /// Whatever a closure brings. Its errors are shown: put no secret in them.
    pub fn from_fn<F, Fut, E>(closure: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Secret, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self(Kind::Closure(Arc::new(move || {
            let call = closure();
            Box::pin(async move { call.await.map_err(Into::into) })
        })))
    }

    /// The secret as it is now.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::Configuration`]: the file or variable cannot be read, or the secret is
    /// empty. [`AuthenticationErrorKind::Other`]: the closure failed.
    pub async fn read(&self) -> Result<Secret, AuthenticationError> {
        let Kind::Closure(closure) = &self.0 else { return self.read_at_once() };
        let secret = closure()
            .await
            .map_err(|error| failed("the secret cannot be had".to_owned()).with_source(error))?;
        self.check(secret)
    }

    /// The secret as it is now, for those who cannot wait.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); and that of a closure has to be waited for.
    pub fn read_at_once(&self) -> Result<Secret, AuthenticationError> {
        let secret = match &self.0 {
            Kind::Value(secret) => return Ok(secret.clone()),
            Kind::File(path) => read_file(path)?,
            Kind::Env(name) => Secret::from(std::env::var(name).map_err(|error| no_variable(name, &error))?),
            Kind::Closure(_) => return Err(failed("the secret from a closure has to be waited for".into())),
        };
        self.check(secret)
    }

    fn check(&self, secret: Secret) -> Result<Secret, AuthenticationError> {
        if secret.expose().is_empty() {
            return Err(failed(format!("the secret from {self:?} is empty")));
        }
        Ok(secret)
    }

    /// The secret, where it was given as a value.
    #[must_use]
    pub fn value(&self) -> Option<&Secret> {
        match &self.0 {
            Kind::Value(secret) => Some(secret),
            _ => None,
        }
    }
}

fn read_file(path: &Path) -> Result<Secret, AuthenticationError> {
    let unreadable = || failed(format!("the secret file {} cannot be read", path.display()));
    let content = std::fs::read_to_string(path).map_err(|error| unreadable().with_source(error))?;
    let content = Zeroizing::new(content);
    let line = content.strip_suffix('\n').unwrap_or(&content);
    Ok(Secret::from(line.strip_suffix('\r').unwrap_or(line)))
}

/// Without `error` as the source: it would show the value.
fn no_variable(name: &str, error: &VarError) -> AuthenticationError {
    let why = match error {
        VarError::NotPresent => "not set",
        VarError::NotUnicode(_) => "not Unicode",
    };
    failed(format!("the environment variable {name} is {why}"))
}

fn failed(what: String) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(what)
}

impl<S: Into<Secret>> From<S> for SecretSource {
    fn from(secret: S) -> Self {
        Self(Kind::Value(secret.into()))
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Value(_) => f.write_str("a value"),
            Kind::File(path) => write!(f, "file {}", path.display()),
            Kind::Env(name) => write!(f, "variable {name}"),
            Kind::Closure(_) => f.write_str("a closure"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_variable_is_told_from_one_that_is_no_text() {
        let reason = |name: &str| SecretSource::env(name).read_at_once().unwrap_err().to_string();
        let unset = reason("FORGE_SECRET_SOURCE_UNSET");
        assert!(unset.contains("the environment variable FORGE_SECRET_SOURCE_UNSET is not set"), "{unset}");
        let no_text =
            no_variable("FORGE_SECRET_SOURCE_BYTES", &VarError::NotUnicode("canary".into())).to_string();
        assert!(no_text.contains("FORGE_SECRET_SOURCE_BYTES is not Unicode"), "{no_text}");
        assert!(!no_text.contains("canary"), "{no_text}");
    }

    #[test]
    fn who_cannot_wait_gets_what_needs_no_waiting() {
        let value = SecretSource::from("s3cret").read_at_once().unwrap();
        assert_eq!(value.expose(), "s3cret");
        let missing = SecretSource::file("/nowhere/secret").read_at_once().unwrap_err().to_string();
        assert!(missing.contains("/nowhere/secret"), "{missing}");
        let closure = SecretSource::from_fn(|| async { Ok::<_, std::io::Error>(Secret::from("canary")) });
        let waited_for = closure.read_at_once().unwrap_err().to_string();
        assert!(waited_for.contains("has to be waited for"), "{waited_for}");
    }
}
