use std::fmt::{self, Write};
use std::net::Ipv6Addr;

use sha2::{Digest, Sha256};

use crate::ConfigError;

/// Builds the key under which a storage keeps a provider's token: `auth_token:{service_name}`, followed by a
/// fingerprint of the parts, if there are any.
///
/// Add everything that makes a token different (endpoint, client, grant, sorted scopes, audience, subject), so that two
/// providers that merely share a service name do not share a token. Do not add a secret: the fingerprint is a hash, and
/// an attacker can guess a weak secret from its hash.
///
/// Different pairs of service name and parts never make the same key. A service name that itself looks like a
/// key with parts (`crm:` and 32 hexadecimal digits) is therefore hashed into the fingerprint.
///
/// ```
/// use requestforge::CacheKey;
///
/// let read = CacheKey::new("crm").part("client", "a").part("scope", "read").to_string();
/// let write = CacheKey::new("crm").part("client", "a").part("scope", "write").to_string();
/// assert!(read.starts_with("auth_token:crm:"));
/// assert_ne!(read, write);
/// assert_eq!(CacheKey::new("crm").to_string(), "auth_token:crm");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheKey {
    /// The text before the fingerprint.
    service_name: String,
    fingerprint: Option<Sha256>,
}

impl CacheKey {
    /// The text before the first `:` of every key.
    pub const FIRST_SEGMENT: &'static str = "auth_token";

    /// A key for this service, without parts yet.
    pub fn new(service_name: &str) -> Self {
        let Some(head) = before_fingerprint(service_name) else {
            return Self { service_name: service_name.to_owned(), fingerprint: None };
        };
        // Attack: without this, `crm` with parts and the service `crm:{their fingerprint}` without parts would make one
        // key. No part has the length `u64::MAX`, so no parts of `crm` produce the new fingerprint either.
        let fingerprint = Sha256::new()
            .chain_update(u64::MAX.to_be_bytes())
            .chain_update((service_name.len() as u64).to_be_bytes())
            .chain_update(service_name);
        Self { service_name: head.to_owned(), fingerprint: Some(fingerprint) }
    }

    /// Adds one named part. The order of the parts changes the key, so sort parts that have no order of their own.
    pub fn part(mut self, name: &str, value: &str) -> Self {
        let digest = self.fingerprint.get_or_insert_with(Sha256::new);
        for field in [name, value] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field.as_bytes());
        }
        self
    }

    /// Adds the scope. Its words have no order (RFC 6749 3.3), so this sorts them and drops repetitions.
    pub fn scope(self, scope: Option<&str>) -> Self {
        let mut words: Vec<&str> = scope.unwrap_or_default().split_whitespace().collect();
        words.sort_unstable();
        words.dedup();
        self.part("scope", &words.join(" "))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Self::FIRST_SEGMENT, self.service_name)?;
        let Some(fingerprint) = &self.fingerprint else { return Ok(()) };
        f.write_char(':')?;
        fingerprint
            .clone()
            .finalize()
            .iter()
            .take(FINGERPRINT_BYTES)
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// 128 bits, so that no two keys of one fleet are equal by chance.
const FINGERPRINT_BYTES: usize = 16;

/// The text before the fingerprint, if the whole text ends like a key with parts.
fn before_fingerprint(text: &str) -> Option<&str> {
    let (head, tail) = text.rsplit_once(':')?;
    let is_fingerprint = tail.len() == 2 * FINGERPRINT_BYTES
        && tail.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_fingerprint.then_some(head)
}

/// Checks that a word of a key cannot be taken for two words.
///
/// # Errors
///
/// The word contains a `:`, which separates the words of a key.
pub fn check_key_word(field: &'static str, word: &str) -> Result<(), ConfigError> {
    if word.contains(':') {
        return Err(ConfigError::new(field, "a name without `:`, which separates the parts of a cache key"));
    }
    Ok(())
}

/// As [`check_key_word`], for the name of a service. The name may be the host of a URL, and so an IPv6 address.
///
/// # Errors
///
/// As [`check_key_word`].
pub fn check_service_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    // A colon inside brackets is harmless: no fingerprint ends with a bracket.
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()) {
        return Ok(());
    }
    check_key_word(field, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv17_scope_order_and_repetition_do_not_matter() {
        let key = |scope| CacheKey::new("s").scope(Some(scope)).to_string();
        assert_eq!(key("read write"), key(" write  read read"));
        assert_ne!(key("read"), key("read write"));
    }

    #[test]
    fn inv17_parts_do_not_run_into_each_other() {
        let key = |a: &str, b: &str| CacheKey::new("s").part(a, b).to_string();
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    #[test]
    fn inv26_keys_of_ordinary_names_are_what_they_were() {
        let key = |service| CacheKey::new(service).part("client", "a").scope(Some("read")).to_string();
        for service in ["crm", "[::1]", "crm:eu", ""] {
            assert_eq!(key(service), format!("auth_token:{service}:557ee9de0eab98bfb5efb07a595a0417"));
            assert_eq!(CacheKey::new(service).to_string(), format!("auth_token:{service}"));
        }
    }

    #[test]
    fn inv26_service_names_hold_no_colon_but_those_of_addresses() {
        for name in ["crm", "", "auth.example.com", "[::1]", "[2001:db8::7]", "[x]"] {
            assert!(check_service_name("service_name", name).is_ok(), "{name}");
        }
        for name in ["crm:eu", ":", "::1", "[::1]:8080", "[a:b]"] {
            let error = check_service_name("service_name", name).unwrap_err();
            assert_eq!(error.field(), "service_name");
            assert!(check_key_word("service_name", name).is_err(), "{name}");
        }
    }
}
