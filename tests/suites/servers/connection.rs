//! A connection without the library.

use std::time::Duration;

use requestforge::redis::aio::MultiplexedConnection;
use requestforge::redis::{AsyncConnectionConfig, Client};

/// Far more than an answer takes: a machine that stands still for a second has not lost its Redis.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn connection(url: &str) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new();
    let config = config.set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    let client = Client::open(url).expect("a client");
    client.get_multiplexed_async_connection_with_config(&config).await.expect("a connection")
}
