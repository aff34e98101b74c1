use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

/// Builds the key under which a provider's token is stored: `auth_token:{service_name}`, and where
/// parts were added, a fingerprint of them.
///
/// Add everything that makes a token different (endpoint, client, grant, sorted scopes, audience,
/// subject): two providers that merely share a service name must not share a token. Add no secret:
/// the fingerprint is a hash, and a hash of a weak secret can be guessed.
///
/// ```
/// use forge_core::CacheKey;
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
    service_name: String,
    parts: Option<Sha256>,
}

impl CacheKey {
    /// A key for this service, without parts yet.
    pub fn new(service_name: &str) -> Self {
        Self { service_name: service_name.to_owned(), parts: None }
    }

    /// Adds one named part. Order matters: sort what has no order of its own.
    pub fn part(mut self, name: &str, value: &str) -> Self {
        let digest = self.parts.get_or_insert_with(Sha256::new);
        for field in [name, value] {
            // The length in front keeps ("ab", "c") and ("a", "bc") apart.
            digest.update((field.len() as u64).to_be_bytes());
            digest.update(field.as_bytes());
        }
        self
    }

    /// Adds the scope, whose words have no order (RFC 6749 3.3): sorted, each once.
    pub fn scope(self, scope: Option<&str>) -> Self {
        let mut words: Vec<&str> = scope.unwrap_or_default().split_whitespace().collect();
        words.sort_unstable();
        words.dedup();
        self.part("scope", &words.join(" "))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auth_token:{}", self.service_name)?;
        let Some(parts) = &self.parts else { return Ok(()) };
        f.write_char(':')?;
        // 128 bits: no two keys of one fleet meet by chance.
        parts.clone().finalize().iter().take(16).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
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
}
