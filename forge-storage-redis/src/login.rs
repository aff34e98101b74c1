use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use forge_core::{Secret, SecretSource, StorageError};
use redis::auth::{BasicAuth, StreamingCredentialsProvider};
use redis::{AsyncConnectionConfig, RedisConnectionInfo};
use tokio::sync::OnceCell;

use crate::explain::explain;

/// The sources from which each new connection reads its user name and password.
#[derive(Clone, Default)]
pub(crate) struct Login {
    pub(crate) username: Option<SecretSource>,
    pub(crate) password: Option<SecretSource>,
    pub(crate) stream: Option<LoginStream>,
}

impl Login {
    /// The login of an address.
    pub(crate) fn of(settings: &RedisConnectionInfo) -> Self {
        let source = |text: &str| SecretSource::from(text.to_owned());
        Self {
            username: settings.username().map(source),
            password: settings.password().map(source),
            stream: None,
        }
    }

    /// Reads the current login.
    ///
    /// # Errors
    ///
    /// The source of the login fails.
    pub(crate) async fn current(&self) -> Result<CurrentLogin, StorageError> {
        let mut present = CurrentLogin { stream: self.stream.clone(), ..CurrentLogin::default() };
        if let Some(username) = &self.username {
            present.username = Some(read(username).await?);
        }
        if let Some(password) = &self.password {
            present.password = Some(read(password).await?);
        }
        Ok(present)
    }
}

/// The login for one attempt to connect.
#[derive(Clone, Default)]
pub(crate) struct CurrentLogin {
    username: Option<Secret>,
    password: Option<Secret>,
    stream: Option<LoginStream>,
    /// The first login of the stream, once a short connection has needed it. All short connections of one attempt share it.
    first: Arc<OnceCell<(Secret, Secret)>>,
}

impl CurrentLogin {
    /// The login for a connection that logs in again when the login changes.
    pub(crate) fn apply_and_follow(
        &self,
        settings: RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> (RedisConnectionInfo, AsyncConnectionConfig) {
        match &self.stream {
            Some(stream) => (settings, config.set_credentials_provider(stream.clone())),
            None => (self.apply_read(settings), config),
        }
    }

    /// The login for a short connection.
    ///
    /// # Errors
    ///
    /// The source of the login fails.
    pub(crate) async fn apply(
        &self,
        settings: RedisConnectionInfo,
    ) -> Result<RedisConnectionInfo, StorageError> {
        let Some(stream) = &self.stream else { return Ok(self.apply_read(settings)) };
        let (username, password) = self.first.get_or_try_init(|| stream.first()).await?;
        Ok(settings.set_username(username.expose()).set_password(password.expose()))
    }

    fn apply_read(&self, mut settings: RedisConnectionInfo) -> RedisConnectionInfo {
        if let Some(username) = &self.username {
            settings = settings.set_username(username.expose());
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose());
        }
        settings
    }
}

async fn read(source: &SecretSource) -> Result<Secret, StorageError> {
    source.read().await.map_err(|error| StorageError::new("no login for Redis").with_source(error))
}

/// A stream of logins that several connections share.
#[derive(Clone)]
pub(crate) struct LoginStream(pub(crate) Arc<dyn StreamingCredentialsProvider>);

impl LoginStream {
    /// The current user and password.
    async fn first(&self) -> Result<(Secret, Secret), StorageError> {
        let mut logins = self.0.subscribe();
        let login = poll_fn(|context| logins.as_mut().poll_next(context)).await;
        let login =
            login.ok_or_else(|| StorageError::new("no login for Redis: the stream of logins has ended"))?;
        let login = login.map_err(|error| explain(&error))?;
        Ok((Secret::from(login.username().to_owned()), Secret::from(login.password().to_owned())))
    }
}

impl StreamingCredentialsProvider for LoginStream {
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

impl fmt::Debug for CurrentLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentLogin").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll};
    use std::time::Duration;

    use forge_core::TokenStorage;

    use super::*;
    use crate::RedisTokenStorage;
    use crate::fake::{Fake, node};

    /// A provider that always returns the same login and counts the requests.
    struct CountingSource(Arc<AtomicUsize>);

    struct One(Option<BasicAuth>);

    impl futures_core::Stream for One {
        type Item = redis::RedisResult<BasicAuth>;

        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.0.take().map_or(Poll::Pending, |login| Poll::Ready(Some(Ok(login))))
        }
    }

    impl StreamingCredentialsProvider for CountingSource {
        fn subscribe(
            &self,
        ) -> Pin<Box<dyn futures_core::Stream<Item = redis::RedisResult<BasicAuth>> + Send + 'static>>
        {
            self.0.fetch_add(1, Ordering::SeqCst);
            Box::pin(One(Some(BasicAuth::new("forge".to_owned(), "pass".to_owned()))))
        }
    }

    #[tokio::test]
    async fn servers_that_are_only_asked_something_are_no_reason_to_subscribe_to_logins() {
        let one = Fake::start_far(Duration::ZERO, |port| node("ok", 1, port)).await;
        let there = || node("ok", 1, one.port());
        let (two, three) = (Fake::start(there()).await, Fake::start(there()).await);
        let subscriptions = Arc::new(AtomicUsize::new(0));
        let storage = RedisTokenStorage::cluster([&one, &two, &three].map(Fake::url))
            .credentials_provider(CountingSource(Arc::clone(&subscriptions)))
            .command_timeout(Duration::from_secs(10))
            .build()
            .unwrap();
        storage.get("k").await.unwrap();
        // Once to ask, and twice by the redis crate for the one connection that stays.
        assert_eq!(subscriptions.load(Ordering::SeqCst), 3);
    }
}
