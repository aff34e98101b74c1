mod blocking_worker;
mod file;
mod shown;

use std::env::VarError;
use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use blocking_worker::BlockingWorker;
use shown::{ShownName, ShownPath};

use crate::{AuthenticationError, AuthenticationErrorKind, Secret};

/// The source of a secret. A provider reads it before each token call, so a secret that rotates needs no restart.
///
/// ```
/// use requestforge::SecretSource;
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
    File(SecretFile),
    Env(String),
    Closure(Arc<Closure>),
}

/// A secret file. All clones share the thread that reads it.
#[derive(Clone)]
struct SecretFile {
    path: Arc<PathBuf>,
    reading: Arc<BlockingWorker<Result<Secret, AuthenticationError>>>,
}

type Closure = dyn Fn() -> Pin<Box<dyn Future<Output = Result<Secret, Failure>> + Send>> + Send + Sync;
type Failure = Box<dyn std::error::Error + Send + Sync>;

impl SecretSource {
    /// The content of a file: UTF-8, without a byte order mark and one line end (`\n` or `\r\n`).
    ///
    /// It must be a regular file, or a link to one, of at most 64 KiB. A separate thread reads it. So a file system that
    /// does not answer blocks no thread of a runtime, and the caller's time-outs hold. A source and its clones have at most
    /// one such thread.
    ///
    /// By mistake the path may be the secret itself. So errors and `Debug` show it only if it looks like a path: it begins
    /// with `/`, `./` or `../`, and no part of it looks like a key in base64.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = Arc::new(path.into());
        let read = Arc::clone(&path);
        Self(Kind::File(SecretFile {
            path,
            reading: Arc::new(BlockingWorker::new(move || file::read(&read))),
        }))
    }

    /// The value of an environment variable. Errors and `Debug` show its name only if it is `UPPER_CASE` and does
    /// not look like a key in base32.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Kind::Env(name.into()))
    }

    /// The secret that a closure returns. The library shows the closure's errors, so do not put a secret in them.
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

    /// Reads the current secret.
    ///
    /// # Errors
    ///
    /// [`AuthenticationErrorKind::Configuration`]: the file or variable is unreadable; the file is not a regular
    /// file, is larger than 64 KiB or is not UTF-8; the secret is empty; or the closure failed.
    pub async fn read(&self) -> Result<Secret, AuthenticationError> {
        let secret = match &self.0 {
            Kind::Value(secret) => return Ok(secret.clone()),
            Kind::File(file) => {
                let read = file.reading.outcome().map_err(thread_error)?.await;
                read.unwrap_or_else(|_| Err(configuration_error(format!("reading {self:?} did not end"))))?
            }
            Kind::Env(name) => variable(name)?,
            Kind::Closure(closure) => closure().await.map_err(|error| {
                configuration_error("the closure for the secret failed").with_source(error)
            })?,
        };
        self.check(secret)
    }

    /// Reads the current secret, for a caller that cannot await it. This blocks the thread for at most a second, while
    /// it waits for a file.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read). Also: reading the file takes longer than a second, or the source is a closure, which a
    /// caller must await.
    pub fn read_blocking(&self) -> Result<Secret, AuthenticationError> {
        let secret = match &self.0 {
            Kind::Value(secret) => return Ok(secret.clone()),
            Kind::File(file) => {
                let read = file.reading.wait(MAX_BLOCKING_WAIT).map_err(thread_error)?;
                read.unwrap_or_else(|| {
                    Err(configuration_error(format!("reading {self:?} took over a second")))
                })?
            }
            Kind::Env(name) => variable(name)?,
            Kind::Closure(_) => {
                return Err(configuration_error("a secret from a closure must be awaited"));
            }
        };
        self.check(secret)
    }

    fn check(&self, secret: Secret) -> Result<Secret, AuthenticationError> {
        if secret.expose().is_empty() {
            return Err(configuration_error(format!("the secret from {self:?} is empty")));
        }
        Ok(secret)
    }

    /// The secret, if this source is a value.
    #[must_use]
    pub fn value(&self) -> Option<&Secret> {
        match &self.0 {
            Kind::Value(secret) => Some(secret),
            _ => None,
        }
    }
}

/// How long [`SecretSource::read_blocking`] waits for a file.
const MAX_BLOCKING_WAIT: Duration = Duration::from_secs(1);

fn variable(name: &str) -> Result<Secret, AuthenticationError> {
    Ok(Secret::from(std::env::var(name).map_err(|error| variable_error(name, &error))?))
}

/// Leaves `error` out of the sources, because its text shows the value.
fn variable_error(name: &str, error: &VarError) -> AuthenticationError {
    let why = match error {
        VarError::NotPresent => "not set",
        VarError::NotUnicode(_) => "not Unicode",
    };
    configuration_error(format!("the environment variable {} is {why}", ShownName(name)))
}

fn thread_error(error: std::io::Error) -> AuthenticationError {
    configuration_error("the system refused a thread for reading a secret file").with_source(error)
}

fn configuration_error(message: impl Into<String>) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(message)
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
            Kind::File(file) => write!(f, "file {}", ShownPath(&file.path)),
            Kind::Env(name) => write!(f, "variable {}", ShownName(name)),
            Kind::Closure(_) => f.write_str("a closure"),
        }
    }
}

#[cfg(test)]
mod tests;
