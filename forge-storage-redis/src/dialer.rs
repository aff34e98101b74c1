use std::convert::Infallible;
use std::sync::Arc;

use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use redis::{PushInfo, RedisConnectionInfo};
use tokio::task::AbortHandle;

use crate::explain::explain;
use crate::login::{CurrentLogin, Login};
#[cfg(feature = "rustls-no-provider")]
use crate::tls::Tls;

/// The settings for connecting to a server at any address.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    pub(crate) login: Login,
    /// All settings but the login.
    pub(crate) settings: RedisConnectionInfo,
    pub(crate) tcp: TcpSettings,
    /// The TLS settings, for addresses with TLS.
    #[cfg(feature = "rustls-no-provider")]
    pub(crate) tls: Option<Tls>,
}

/// A dialer with the current login. Reading the login may take time, so an attempt to connect reads it once.
#[derive(Clone, Debug)]
pub(crate) struct ReadyDialer {
    dialer: Arc<Dialer>,
    login: CurrentLogin,
}

/// A connection and the task that drives it. The drop of the last clone ends the task.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) redis: MultiplexedConnection,
    _driver: Option<Arc<Driver>>,
}

/// Ends the task of a connection on drop.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dialer {
    /// Reads the current login.
    ///
    /// # Errors
    ///
    /// The source of the login fails.
    pub(crate) async fn ready(self: &Arc<Self>) -> Result<ReadyDialer, StorageError> {
        Ok(ReadyDialer { dialer: Arc::clone(self), login: self.login.current().await? })
    }
}

impl ReadyDialer {
    /// Opens a connection for a few commands.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses the login.
    pub(crate) async fn dial(&self, address: &ConnectionAddr) -> Result<Connection, StorageError> {
        let settings = self.login.apply(self.settings(ProtocolVersion::RESP2)).await?;
        self.connect(address, settings, without_deadlines()).await
    }

    /// Opens a connection that also receives announcements.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses the login.
    pub(crate) async fn dial_with_push(
        &self,
        address: &ConnectionAddr,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection, StorageError> {
        let config = without_deadlines().set_push_sender(move |push| {
            on_push(push);
            Ok::<(), Infallible>(())
        });
        // Announcements and answers share the connection, which requires RESP3.
        let (settings, config) = self.login.apply_and_follow(self.settings(ProtocolVersion::RESP3), config);
        self.connect(address, settings, config).await
    }

    fn settings(&self, protocol: ProtocolVersion) -> RedisConnectionInfo {
        self.dialer.settings.clone().set_protocol(protocol)
    }

    async fn connect(
        &self,
        address: &ConnectionAddr,
        settings: RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> Result<Connection, StorageError> {
        #[cfg(feature = "rustls-no-provider")]
        if let (ConnectionAddr::TcpTls { host, port, .. }, Some(tls)) = (address, &self.dialer.tls) {
            let stream = tls.connect(host, *port).await?;
            let connection = MultiplexedConnection::new_with_config(&settings, stream, config).await;
            let (redis, driver) = connection.map_err(|error| explain(&error))?;
            let driver = Driver(tokio::spawn(driver).abort_handle());
            return Ok(Connection { redis, _driver: Some(Arc::new(driver)) });
        }
        let info = address.clone().into_connection_info();
        let info =
            info.map(|info| info.set_redis_settings(settings).set_tcp_settings(self.dialer.tcp.clone()));
        let client = info.and_then(Client::open).map_err(|error| explain(&error))?;
        let redis = client.get_multiplexed_async_connection_with_config(&config).await;
        Ok(Connection { redis: redis.map_err(|error| explain(&error))?, _driver: None })
    }
}

/// Switches off the time-outs of the redis crate, because `Limits` has the time-outs of this crate.
fn without_deadlines() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}
