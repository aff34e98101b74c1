use std::convert::Infallible;

use forge_core::StorageError;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
};
use redis::{PushInfo, RedisConnectionInfo};

use crate::explain::explain;
use crate::login::Login;

/// How a server is connected to, wherever it is.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) login: Login,
    pub(crate) database: i64,
}

impl Dialer {
    /// A connection for a few questions.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not let us in.
    pub(crate) async fn dial(&self, address: &ConnectionAddr) -> Result<MultiplexedConnection, StorageError> {
        self.connect(address, ProtocolVersion::RESP2, without_deadlines()).await
    }

    /// A connection that also hears.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or does not let us in.
    pub(crate) async fn dial_to_hear(
        &self,
        address: &ConnectionAddr,
        hear: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection, StorageError> {
        let config = without_deadlines().set_push_sender(move |push| {
            hear(push);
            Ok::<(), Infallible>(())
        });
        // Announcements come over the same connection as answers, which takes RESP3.
        self.connect(address, ProtocolVersion::RESP3, config).await
    }

    async fn connect(
        &self,
        address: &ConnectionAddr,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, StorageError> {
        let settings = RedisConnectionInfo::default().set_db(self.database).set_protocol(protocol);
        #[cfg(feature = "rustls")]
        if matches!(address, ConnectionAddr::TcpTls { .. }) {
            crate::tls::install_provider();
        }
        let (settings, config) = self.login.apply(settings, config).await?;
        let client = client(address.clone(), settings).map_err(|error| explain(&error))?;
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| explain(&error))
    }
}

/// Deadlines are ours: see `Limits`.
fn without_deadlines() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

fn client(address: ConnectionAddr, settings: RedisConnectionInfo) -> redis::RedisResult<Client> {
    let info: ConnectionInfo = address.into_connection_info()?;
    Client::open(info.set_redis_settings(settings))
}
