use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use forge_core::{Secret, SecretSource, StorageError};
use redis::auth::{BasicAuth, StreamingCredentialsProvider};
use redis::{AsyncConnectionConfig, RedisConnectionInfo};

/// As whom we connect.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<SecretSource>,
    pub(crate) password: Option<SecretSource>,
    pub(crate) stream: Option<Stream>,
}

impl Login {
    /// What an address says.
    pub(crate) fn of(settings: &RedisConnectionInfo) -> Self {
        let source = |text: &str| SecretSource::from(text.to_owned());
        Self {
            username: settings.username().map(source),
            password: settings.password().map(source),
            stream: None,
        }
    }

    /// What it is now.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    pub(crate) async fn present(&self) -> Result<Present, StorageError> {
        let mut present = Present { stream: self.stream.clone(), ..Present::default() };
        if let Some(username) = &self.username {
            present.username = Some(read(username).await?);
        }
        if let Some(password) = &self.password {
            present.password = Some(read(password).await?);
        }
        Ok(present)
    }
}

/// As whom we connect now.
#[derive(Clone, Default)]
pub(crate) struct Present {
    username: Option<Secret>,
    password: Option<Secret>,
    stream: Option<Stream>,
}

impl Present {
    pub(crate) fn apply(
        &self,
        mut settings: RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> (RedisConnectionInfo, AsyncConnectionConfig) {
        if let Some(stream) = &self.stream {
            return (settings, config.set_credentials_provider(stream.clone()));
        }
        if let Some(username) = &self.username {
            settings = settings.set_username(username.expose());
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose());
        }
        (settings, config)
    }
}

async fn read(source: &SecretSource) -> Result<Secret, StorageError> {
    source.read().await.map_err(|error| StorageError::new("no login for Redis").with_source(error))
}

/// A provider that several connections use.
#[derive(Clone)]
pub(crate) struct Stream(pub(crate) Arc<dyn StreamingCredentialsProvider>);

impl StreamingCredentialsProvider for Stream {
    fn subscribe(
        &self,
    ) -> Pin<Box<dyn futures_core::Stream<Item = redis::RedisResult<BasicAuth>> + Send + 'static>> {
        self.0.subscribe()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

impl fmt::Debug for Present {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Present").finish_non_exhaustive()
    }
}
