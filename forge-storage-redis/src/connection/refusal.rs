use forge_core::StorageError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::explain::{explain, missing_host_name_error};

/// The reason why a server has not run a script.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Another server of the cluster has the keys.
    Moved { host: String, port: u16 },
    /// The keys are moving to another server, which may have them already.
    Ask { host: String, port: u16 },
    /// The keys are moving, and some have arrived while others have not.
    TryAgain,
    /// Another attempt does not help.
    Final(StorageError),
}

impl Refusal {
    pub(super) fn of(error: &RedisError) -> Self {
        let ErrorKind::Server(kind) = error.kind() else { return Self::Final(explain(error)) };
        let elsewhere = || {
            let (address, _slot) = error.redirect_node()?;
            let (host, port) = address.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some((host, port.parse().ok()?))
        };
        match (kind, elsewhere()) {
            (ServerErrorKind::Moved | ServerErrorKind::Ask, Some((host, _))) if host == UNKNOWN_HOST => {
                Self::Final(missing_host_name_error().with_nothing_sent())
            }
            (ServerErrorKind::Moved, Some((host, port))) => Self::Moved { host, port },
            (ServerErrorKind::Ask, Some((host, port))) => Self::Ask { host, port },
            (ServerErrorKind::TryAgain, _) => Self::TryAgain,
            _ => Self::Final(explain(error)),
        }
    }
}

/// The text for an unknown host name in the answers of a cluster.
pub(crate) const UNKNOWN_HOST: &str = "?";

/// For a storage without a cluster: a redirect shows that the server is part of one.
impl From<Refusal> for StorageError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Final(error) => error,
            Refusal::Moved { .. } | Refusal::Ask { .. } | Refusal::TryAgain => {
                Self::new("this server is part of a cluster: use `RedisTokenStorage::cluster`")
            }
        }
    }
}

/// Whether the connection is useless after this error. An answer that this crate does not understand is no reason to
/// reconnect.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    // A server that has become a replica refuses writes. A server that is cut off from its cluster refuses every command. A
    // server whose users have changed demands a new login.
    let is_of_the_server =
        matches!(error.kind(), ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::ClusterDown));
    is_of_the_server || error.code() == Some("NOAUTH") || error.is_io_error() || error.is_connection_dropped()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(answer: &str) -> RedisError {
        let answer = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err()
    }

    fn refused(answer: &str) -> Refusal {
        Refusal::of(&error(answer))
    }

    #[test]
    fn a_connection_to_what_is_no_master_any_more_is_of_no_use() {
        for answer in ["READONLY You can't write", "CLUSTERDOWN The cluster is down", "NOAUTH required"] {
            assert!(is_fatal(&error(answer)), "{answer}");
        }
        for answer in
            ["ERR no", "WRONGTYPE no", "MOVED 1 a:1", "TRYAGAIN no", "OOM no", "LOADING yes", "NOPERM no"]
        {
            assert!(!is_fatal(&error(answer)), "{answer}");
        }
    }

    #[test]
    fn where_the_keys_are_is_read_from_the_refusal() {
        for (answer, expected) in [
            ("MOVED 3999 127.0.0.1:6381", ("127.0.0.1", 6381)),
            ("MOVED 3999 redis-1.example.com:6381", ("redis-1.example.com", 6381)),
            ("MOVED 3999 ::1:6381", ("::1", 6381)),
            ("MOVED 3999 [::1]:6381", ("::1", 6381)),
            ("MOVED 3999 :6381", ("", 6381)),
        ] {
            let Refusal::Moved { host, port } = refused(answer) else { panic!("{answer}") };
            assert_eq!((host.as_str(), port), expected);
        }
        for answer in ["MOVED 3999 ?:6381", "ASK 3999 ?:6381"] {
            let Refusal::Final(error) = refused(answer) else { panic!("{answer}") };
            assert!(error.to_string().contains("cluster-announce-hostname") && error.is_unsent(), "{error}");
        }
        assert!(matches!(refused("ASK 3999 127.0.0.1:6381"), Refusal::Ask { port: 6381, .. }));
        assert!(matches!(
            refused("TRYAGAIN Multiple keys request during rehashing of slot"),
            Refusal::TryAgain
        ));
        for answer in
            ["MOVED", "MOVED 1", "MOVED 1 x", "MOVED 1 x:99999", "ERR MOVED 1 x:1", "CLUSTERDOWN no"]
        {
            assert!(matches!(refused(answer), Refusal::Final(_)), "{answer}");
        }
    }
}
