//! What a storage is built for.

use std::sync::Arc;

use forge_core::ConfigError;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::addresses::host_and_port;
use crate::dialer::Dialer;
use crate::login::Login;

pub(crate) enum Target {
    One(ConnectionInfo),
    Sentinel { sentinels: Sites, master_name: String },
    Cluster(Sites),
}

/// Several servers that let us in alike.
pub(crate) struct Sites {
    pub(crate) addresses: Vec<ConnectionAddr>,
    pub(crate) login: Login,
}

impl Target {
    pub(crate) fn from_url(url: &str) -> Result<Self, ConfigError> {
        parse(url, "url").map(Self::One)
    }

    pub(crate) fn sentinel(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        master_name: String,
    ) -> Result<Self, ConfigError> {
        let sentinels = Sites::parse(urls, "sentinels")?;
        if master_name.is_empty() || master_name.contains(char::is_whitespace) {
            return Err(ConfigError::new("master_name", "the name in the sentinels' configuration"));
        }
        Ok(Self::Sentinel { sentinels, master_name })
    }

    pub(crate) fn cluster(urls: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, ConfigError> {
        Sites::parse(urls, "nodes").map(Self::Cluster)
    }

    /// The login that the addresses name.
    pub(crate) fn login(&self) -> Login {
        match self {
            Self::One(info) => Login::of(info.redis_settings()),
            // What their addresses name is for the sentinels themselves.
            Self::Sentinel { .. } => Login::default(),
            Self::Cluster(nodes) => nodes.login.clone(),
        }
    }

    /// The database that the address names.
    pub(crate) fn database(&self) -> i64 {
        match self {
            Self::One(info) => info.redis_settings().db(),
            Self::Sentinel { .. } | Self::Cluster(_) => 0,
        }
    }
}

impl Sites {
    fn parse(
        urls: impl IntoIterator<Item = impl AsRef<str>>,
        field: &'static str,
    ) -> Result<Self, ConfigError> {
        let infos = urls.into_iter().map(|url| parse(url.as_ref(), field));
        let infos = infos.collect::<Result<Vec<_>, _>>()?;
        let Some(first) = infos.first() else {
            return Err(ConfigError::new(field, "at least one address"));
        };
        let is_tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
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
            } else if is_tls(info) != is_tls(first) {
                "TLS for all addresses or for none"
            } else {
                continue;
            };
            return Err(ConfigError::new(field, expected));
        }
        let login = Login::of(first.redis_settings());
        Ok(Self { addresses: infos.iter().map(|info| info.addr().clone()).collect(), login })
    }

    /// How one connects to these, where that differs from the storage's own way.
    pub(crate) fn dialer(&self) -> Arc<Dialer> {
        Arc::new(Dialer { login: self.login.clone(), database: 0 })
    }
}

fn parse(url: &str, field: &'static str) -> Result<ConnectionInfo, ConfigError> {
    // The client's own words may quote the URL, and so a password.
    let info = url.into_connection_info().map_err(|_| {
        let is_tls = url.starts_with("rediss:") || url.starts_with("valkeys:");
        let can_tls = cfg!(any(feature = "rustls-no-provider", feature = "native-tls"));
        let expected = if is_tls && !can_tls {
            "an address without TLS, or a feature that brings it (`redis-tls` of requestforge)"
        } else {
            "redis://[user:password@]host[:port][/database], rediss://… with TLS, valkey://…, valkeys://… or \
             redis+unix:///path, with user and password percent-encoded"
        };
        ConfigError::new(field, expected)
    })?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(ConfigError::new(field, "an address without #insecure: certificates are always checked"));
    }
    Ok(info)
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

    #[cfg(not(any(feature = "rustls-no-provider", feature = "native-tls")))]
    #[test]
    fn tls_takes_a_feature_that_is_named() {
        let error = refused(RedisTokenStorage::builder("rediss://user:canary@10.0.0.5"));
        assert!(error.contains("redis-tls"), "{error}");
    }
}
