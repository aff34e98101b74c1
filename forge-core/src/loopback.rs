use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a host, as [`url`](https://docs.rs/url) writes it, is this machine: `localhost`, an address in
/// 127.0.0.0/8, `[::1]`, or one of the former mapped into IPv6 (RFC 4291 2.5.5.2).
///
/// A name below `localhost`, such as `a.localhost`, does not count: some systems ask a DNS server for its address.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    // The cheap check of the prefix comes first: clients call this before each request, and most hosts are names.
    host == "localhost" || (host.starts_with("127.") && host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv14_only_loopback_addresses_and_localhost_are_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:7f00:1]", "[::ffff:127.9.9.9]"]
        {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "a.localhost",
            "localhost.",
            "localhost.example.com",
            "notlocalhost",
            "127.0.0.1.example.com",
            "127.example.com",
            "128.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "[::7f00:1]",
            "::1",
            "[::1",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
