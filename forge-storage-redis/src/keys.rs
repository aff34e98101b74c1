use std::fmt::Write;

use crc::{CRC_16_XMODEM, Crc};
use forge_core::{CacheKey, ConfigError, StorageError};
use sha2::{Digest, Sha256};

/// The keys of one token in Redis. The other keys have the token's key as their hash tag, so that a cluster keeps all of
/// them in one slot.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) token: String,
    pub(crate) meta: String,
    pub(crate) lease: String,
    pub(crate) cool_down: String,
    /// The key of the epoch, a random value that each invalidation replaces.
    pub(crate) epoch: String,
    /// The hash by which announcements name the key.
    pub(crate) hash: String,
}

impl Keys {
    /// The keys of the token under `key`, with this prefix.
    ///
    /// # Errors
    ///
    /// The key contains a brace.
    pub(crate) fn new(prefix: &str, key: &str) -> Result<Self, StorageError> {
        check_braces(key).map_err(|expected| StorageError::new(format!("the key must have {expected}")))?;
        let token = format!("{prefix}:{key}");
        let at_its_side = |name: &str| format!("{{{token}}}:{name}");
        Ok(Self {
            meta: at_its_side("meta"),
            lease: at_its_side("lease"),
            cool_down: at_its_side("cool-down"),
            epoch: at_its_side("epoch"),
            hash: hash(&token),
            token,
        })
    }

    /// The slot of all these keys in a cluster.
    pub(crate) fn slot(&self) -> u16 {
        SLOT.checksum(self.token.as_bytes()) % SLOTS
    }
}

/// The checksum from which a cluster computes the slot. The redis crate has it only together with its cluster client.
const SLOT: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);
const SLOTS: u16 = 16_384;

/// Checks that no two tokens under two prefixes can have the same key in Redis.
///
/// A key of ours is one of a manager (`auth_token:crm` or `auth_token:crm:{fingerprint}`) or one of a step (`{prefix}:{step}`
/// or `{step}`, whose words contain no `:`, and whose prefix is not `auth_token`). So the text `{key_prefix}:{key}` can be
/// split in one way only. If it contains `auth_token:`, the `key_prefix` is everything before the first one. Otherwise the
/// key is that of a step. With three words or more, the `key_prefix` is everything before the last two. With two words it is
/// the first word, because [`check_key`] allows a key of one word only under a `key_prefix` without a colon.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), ConfigError> {
    let wrong = |expected: &str| ConfigError::new("key_prefix", expected);
    check_braces(prefix).map_err(wrong)?;
    if prefix.split(':').any(|segment| segment == CacheKey::FIRST_SEGMENT) {
        return Err(wrong("no segment `auth_token`, which begins the keys of token managers"));
    }
    Ok(())
}

/// Checks that no other token can have the same key in Redis as this one under this prefix.
pub(crate) fn check_key(prefix: &str, key: &str) -> Result<(), ConfigError> {
    let wrong = |expected: &str| ConfigError::new("cache_key", expected);
    check_braces(key).map_err(wrong)?;
    // Without this the step `session` under `shop:alice` and the step `alice:session` under `shop` would share a key.
    if prefix.contains(':') && !key.contains(':') {
        return Err(wrong(
            "a key with a `:`, because the `key_prefix` of the storage has one (for steps, set `cache_key_prefix`)",
        ));
    }
    Ok(())
}

/// Checks that there is no brace, which would end the hash tag of the other keys.
fn check_braces(part: &str) -> Result<(), &'static str> {
    if part.contains(['{', '}']) { Err("no `{` and no `}`") } else { Ok(()) }
}

fn hash(key: &str) -> String {
    let mut hash = String::with_capacity(32);
    for byte in Sha256::digest(key.as_bytes()).iter().take(16) {
        // Writing to a string cannot fail.
        let _ = write!(hash, "{byte:02x}");
    }
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::Config;

    use super::*;

    #[test]
    fn the_token_has_the_documents_key_and_the_others_stand_at_its_side() {
        let keys = Keys::new("token", "auth_token:crm").unwrap();
        assert_eq!(keys.token, "token:auth_token:crm");
        assert_eq!(keys.meta, "{token:auth_token:crm}:meta");
        assert_eq!(keys.lease, "{token:auth_token:crm}:lease");
        assert_eq!(keys.cool_down, "{token:auth_token:crm}:cool-down");
        assert_eq!(keys.hash.len(), 32);
    }

    #[test]
    fn all_are_in_the_slot_of_the_token() {
        // The slot is the answer of a server to `CLUSTER KEYSLOT token:auth_token:crm`. The specification
        // has the checksum of "123456789".
        assert_eq!(SLOT.checksum(b"123456789"), 0x31C3);
        assert_eq!(Keys::new("token", "auth_token:crm").unwrap().slot(), 2686);
    }

    #[test]
    fn braces_are_refused() {
        assert!(Keys::new("token", "a{b").is_err() && Keys::new("token", "a}b").is_err());
    }

    /// Few words, so that similar pairs occur: `a` and `b:c` beside `a:b` and `c`.
    fn word(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
        prop::sample::select(of)
    }

    /// The keys that managers and pipelines make.
    fn key_of_ours() -> impl Strategy<Value = String> {
        let parts = prop::collection::vec(word(&["a", "b"]), 0..2);
        let manager = (word(&["a", "b", "", "auth_token", "[::1]"]), parts).prop_map(|(service, parts)| {
            parts.iter().fold(CacheKey::new(service), |key, part| key.part(part, part)).to_string()
        });
        let step = || word(&["a", "b", "auth_token"]);
        let prefixed = (word(&["a", "b"]), step()).prop_map(|(prefix, step)| format!("{prefix}:{step}"));
        prop_oneof![manager, prefixed, step().prop_map(str::to_owned)]
    }

    fn pair() -> impl Strategy<Value = (String, String)> {
        let words = prop::collection::vec(word(&["a", "a", "b", "b", "", "auth_token"]), 1..4);
        (words.prop_map(|words| words.join(":")), key_of_ours())
    }

    /// Two keys that look alike: the same words, divided in another place.
    fn pairs() -> impl Strategy<Value = ((String, String), (String, String))> {
        (pair(), pair(), any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(one, other, at, is_divided)| {
                if !is_divided {
                    return (one, other);
                }
                let token = format!("{}:{}", one.0, one.1);
                let colons: Vec<_> = token.match_indices(':').map(|(at, _)| at).collect();
                let at = colons[at.index(colons.len())];
                (one, (token[..at].to_owned(), token[at + 1..].to_owned()))
            },
        )
    }

    /// Whether a manager or a pipeline makes such a key.
    fn is_of_ours(key: &str) -> bool {
        let words: Vec<_> = key.split(':').collect();
        match words.as_slice() {
            ["auth_token", service @ ..] => match service {
                [] | [_] => true,
                [.., last] => {
                    let service = &key["auth_token:".len()..key.len() - last.len() - 1];
                    let is_fingerprint =
                        last.len() == 32 && last.bytes().all(|byte| byte.is_ascii_hexdigit());
                    key.ends_with("[::1]") || is_fingerprint && (!service.contains(':') || service == "[::1]")
                }
            },
            [step] => !step.is_empty(),
            [prefix, step] => !prefix.is_empty() && !step.is_empty(),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(Config { cases: 8_192, failure_persistence: None, ..Config::default() })]

        #[test]
        fn inv26_no_two_prefixes_and_keys_of_ours_make_one_key((one, two) in pairs()) {
            prop_assert!(is_of_ours(&one.1), "{:?}", one);
            let taken = |(prefix, key): &(String, String)| {
                is_of_ours(key) && check_prefix(prefix).is_ok() && check_key(prefix, key).is_ok()
            };
            if taken(&one) && taken(&two) {
                let tokens = [&one, &two].map(|(prefix, key)| Keys::new(prefix, key).unwrap().token);
                prop_assert_eq!(one == two, tokens[0] == tokens[1], "{:?} {:?}", one, two);
            }
        }
    }

    #[test]
    fn inv26_a_prefix_that_begins_a_key_of_ours_is_refused_and_others_are_not() {
        for prefix in ["auth_token", "shop:auth_token", "auth_token:shop", "a:auth_token:b"] {
            assert_eq!(check_prefix(prefix).unwrap_err().field(), "key_prefix", "{prefix}");
        }
        for prefix in ["token", "shop:alice", "a:", "", "auth_tokens:x", "my app"] {
            assert!(check_prefix(prefix).is_ok(), "{prefix}");
            assert!(check_key(prefix, "auth_token:crm").is_ok() && check_key(prefix, "shop:session").is_ok());
            assert_eq!(check_key(prefix, "session").is_ok(), !prefix.contains(':'), "{prefix}");
        }
        assert_eq!(check_key("shop:alice", "session").unwrap_err().field(), "cache_key");
    }
}
