//! The servers of a storage, as the user names them.

use forge_core::ConfigError;
use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use crate::addresses::{has_tls, host_and_port, with_tls};
use crate::login::Login;

pub(crate) enum Target {
    One(ConnectionInfo),
    Sentinel { sentinels: Endpoints, master_name: String },
    Cluster(Endpoints),
}

/// Several servers with the same login.
pub(crate) struct Endpoints {
    pub(crate) addresses: Vec<ConnectionAddr>,
    pub(crate) login: Login,
}

impl Target {
    pub(crate) fn from_url(url: &str) -> Result<Self, ConfigError> {
        parse(url, "url").map(Self::One)
    }

    pub(crate) fn from_client(client: &Client) -> Result<Self, ConfigError> {
        let info = client.get_connection_info();
        if has_tls(info.addr()) {
            // Attack: the client does not reveal whether it checks certificates, so this crate cannot take over its TLS.
            return Err(ConfigError::new(
                "client",
                "a client without TLS; for a server with TLS use `builder(\"rediss://…\")`",
            ));
        }
        Ok(Self::One(info.clone()))
    }

    pub(crate) fn sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master_name: String,
    ) -> Result<Self, ConfigError> {
        let sentinels = Endpoints::parse(urls, "sentinels")?;
        if master_name.is_empty() || master_name.contains(char::is_whitespace) {
            return Err(ConfigError::new("master_name", "the name in the sentinels' configuration"));
        }
        Ok(Self::Sentinel { sentinels, master_name })
    }

    pub(crate) fn cluster(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ConfigError> {
        Endpoints::parse(urls, "nodes").map(Self::Cluster)
    }

    /// The login in the addresses.
    pub(crate) fn login(&self) -> Login {
        match self {
            Self::One(info) => Login::of(info.redis_settings()),
            // The login in the sentinels' addresses is for the sentinels themselves.
            Self::Sentinel { .. } => Login::default(),
            Self::Cluster(nodes) => nodes.login.clone(),
        }
    }

    /// The other settings of a single address; several addresses have none.
    pub(crate) fn settings(&self) -> (RedisConnectionInfo, TcpSettings) {
        match self {
            Self::One(info) => (info.redis_settings().clone(), info.tcp_settings().clone()),
            Self::Sentinel { .. } | Self::Cluster(_) => Default::default(),
        }
    }

    /// The setting that held the addresses, and whether they use TLS.
    #[cfg(feature = "rustls-no-provider")]
    pub(crate) fn tls(&self) -> (&'static str, bool) {
        match self {
            Self::One(info) => ("url", has_tls(info.addr())),
            Self::Sentinel { sentinels, .. } => ("sentinels", has_tls(&sentinels.addresses[0])),
            Self::Cluster(nodes) => ("nodes", has_tls(&nodes.addresses[0])),
        }
    }
}

impl Endpoints {
    fn parse(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        field: &'static str,
    ) -> Result<Self, ConfigError> {
        let infos = urls.into_iter().map(|url| parse(url.as_ref(), field));
        let infos = infos.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = infos.first() else {
            return Err(ConfigError::new(field, "at least one address"));
        };
        let login = |info: &ConnectionInfo| {
            let settings = info.redis_settings();
            (settings.username().map(str::to_owned), settings.password().map(str::to_owned))
        };
        for info in &infos {
            let expected = if host_and_port(info.addr()).is_none() {
                "hosts and ports"
            } else if info.redis_settings().db() != 0 {
                "addresses without a database"
            } else if login(info) != login(first) {
                "the same login in each address"
            } else if has_tls(info.addr()) != has_tls(first.addr()) {
                "TLS for all addresses or for none"
            } else {
                continue;
            };
            return Err(ConfigError::new(field, expected));
        }
        let login = Login::of(first.redis_settings());
        Ok(Self { addresses: infos.iter().map(|info| info.addr().clone()).collect(), login })
    }
}

fn parse(url: &str, field: &'static str) -> Result<ConnectionInfo, ConfigError> {
    let plain = url.strip_prefix("rediss:").or_else(|| url.strip_prefix("valkeys:"));
    if plain.is_some() && !cfg!(feature = "rustls-no-provider") {
        let expected = "an address without TLS, or the feature `redis-tls` of requestforge";
        return Err(ConfigError::new(field, expected));
    }
    if url.ends_with("#insecure") {
        return Err(ConfigError::new(
            field,
            "an address without `#insecure`, since certificates are always checked",
        ));
    }
    // The redis crate's error may quote the URL, and so a password.
    let refused = |_| {
        let expected = "redis://[user:password@]host[:port][/database], rediss://… with TLS, valkey://…, \
                        valkeys://… or redis+unix:///path, with user and password percent-encoded";
        ConfigError::new(field, expected)
    };
    // The redis crate is built without TLS and refuses such addresses, so parse them as plain ones.
    let Some(plain) = plain else { return url.into_connection_info().map_err(refused) };
    let info = format!("redis:{plain}").into_connection_info().map_err(refused)?;
    let address = match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) => with_tls(host, port),
        other => other,
    };
    Ok(info.set_addr(address))
}

#[cfg(test)]
mod tests {
    use crate::{RedisTokenStorage, RedisTokenStorageBuilder};

    const ONE: &str = "redis://10.0.0.5:6379";

    fn refused(builder: RedisTokenStorageBuilder) -> String {
        let error = builder.build().unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
        error
    }

    #[test]
    fn inv16_lists_that_cannot_be_are_named_without_a_password() {
        for (urls, expected) in [
            (&[][..], "at least one address"),
            (&[ONE, "10.0.0.6:6379"], "redis://"),
            (&[ONE, "redis+unix:///run/redis?pass=canary"], "hosts and ports"),
            (&[ONE, "redis://10.0.0.6:6379/1"], "without a database"),
            (&[ONE, "redis://:canary@10.0.0.6:6379"], "the same login"),
            (&["redis://a:canary@10.0.0.5", "redis://b:canary@10.0.0.5"], "the same login"),
        ] {
            let cluster = refused(RedisTokenStorage::cluster(urls));
            assert!(cluster.contains("nodes") && cluster.contains(expected), "{urls:?}: {cluster}");
            let sentinel = refused(RedisTokenStorage::sentinel(urls, "mymaster"));
            assert!(sentinel.contains("sentinels") && sentinel.contains(expected), "{urls:?}: {sentinel}");
        }
        for name in ["", "my master", "mymaster\n"] {
            assert!(refused(RedisTokenStorage::sentinel([ONE], name)).contains("master_name"));
        }
        #[cfg(feature = "rustls")]
        assert!(refused(RedisTokenStorage::cluster([ONE, "rediss://10.0.0.6"])).contains("TLS for all"));
    }

    #[test]
    fn settings_that_do_not_fit_the_servers_are_refused() {
        assert!(refused(RedisTokenStorage::cluster([ONE]).database(1)).contains("database"));
        assert!(RedisTokenStorage::cluster([ONE]).database(0).build().is_ok());
        assert!(RedisTokenStorage::sentinel([ONE], "mymaster").database(1).build().is_ok());
        assert!(refused(RedisTokenStorage::builder(ONE).username("canary")).contains("password"));
        assert!(RedisTokenStorage::builder("redis://user@10.0.0.5").password("canary").build().is_ok());
        assert!(refused(RedisTokenStorage::builder("redis://user@10.0.0.5")).contains("password"));
    }

    #[cfg(not(feature = "rustls-no-provider"))]
    #[test]
    fn tls_takes_a_feature_that_is_named() {
        let error = refused(RedisTokenStorage::builder("rediss://user:canary@10.0.0.5"));
        assert!(error.contains("redis-tls"), "{error}");
    }
}
