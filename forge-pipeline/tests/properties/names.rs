//! Two steps share a key only if their prefixes and names are equal.

use std::sync::{Arc, Mutex};

use forge_core::{
    AuthenticationError, ConfigError, FetchContext, StorageError, TokenData, TokenFetcher, TokenStorage,
    async_trait,
};
use forge_pipeline::TokenFetchPipeline;
use proptest::prelude::*;

use crate::cases;

struct Step(String);

#[async_trait]
impl TokenFetcher for Step {
    fn name(&self) -> &str {
        &self.0
    }

    async fn fetch(&self, _context: &FetchContext) -> Result<TokenData, AuthenticationError> {
        Ok(TokenData::new("t"))
    }
}

/// A storage that records the keys that a pipeline checks, and stores nothing.
#[derive(Debug, Default)]
struct KeyRecorder(Mutex<Vec<String>>);

#[async_trait]
impl TokenStorage for KeyRecorder {
    async fn get(&self, _key: &str) -> Result<Option<TokenData>, StorageError> {
        Ok(None)
    }

    async fn set(&self, _key: &str, _token: &TokenData) -> Result<(), StorageError> {
        Ok(())
    }

    async fn delete(&self, _key: &str) -> Result<(), StorageError> {
        Ok(())
    }

    async fn exists(&self, _key: &str) -> Result<bool, StorageError> {
        Ok(false)
    }

    fn check_key(&self, key: &str) -> Result<(), ConfigError> {
        self.0.lock().unwrap().push(key.to_owned());
        Ok(())
    }
}

/// The key of the only step of a pipeline with this prefix, or the invalid field.
fn key(prefix: &str, step: &str) -> Result<String, &'static str> {
    let notes = Arc::new(KeyRecorder::default());
    let pipeline = TokenFetchPipeline::builder().cache_key_prefix(prefix).storage(Arc::clone(&notes));
    pipeline.step(Step(step.to_owned())).build().map_err(|error| error.field())?;
    let keys = notes.0.lock().unwrap();
    assert_eq!(keys.len(), 1);
    Ok(keys[0].clone())
}

/// Words of few letters, so that pairs such as `a` and `b:c`, `a:b` and `c` occur.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![8 => "[ab:]{1,4}", 1 => Just("auth_token".to_owned())]
}

/// Two pairs. Sometimes they are one text, split in two places.
fn pairs() -> impl Strategy<Value = ((String, String), (String, String))> {
    (word(), word(), word(), word(), any::<bool>()).prop_map(|(a, b, c, d, is_divided)| {
        if is_divided { ((format!("{a}:{b}"), c.clone()), (a, format!("{b}:{c}"))) } else { ((a, b), (c, d)) }
    })
}

proptest! {
    #![proptest_config(cases(4_096))]

    #[test]
    fn inv26_no_two_prefixes_and_steps_make_one_key((one, two) in pairs()) {
        for (prefix, step) in [&one, &two] {
            let expected = if step.contains(':') {
                Some("steps")
            } else if prefix.contains(':') || prefix == "auth_token" {
                Some("cache_key_prefix")
            } else {
                None
            };
            prop_assert_eq!(key(prefix, step).err(), expected, "{:?} {:?}", prefix, step);
        }
        let keys = (key(&one.0, &one.1), key(&two.0, &two.1));
        if let (Ok(one_key), Ok(two_key)) = keys {
            prop_assert_eq!(one == two, one_key == two_key, "{:?} {:?}", one, two);
            // No key of a step is the key of a manager.
            prop_assert!(!one_key.starts_with("auth_token:"), "{}", one_key);
        }
    }
}

#[test]
fn inv26_a_key_that_was_unambiguous_is_the_same_as_before() {
    assert_eq!(key("myapp", "session").as_deref(), Ok("myapp:session"));
    assert_eq!(key("", "session").as_deref(), Ok("session"));
    assert_eq!(key("", "auth_token").as_deref(), Ok("auth_token"));
}
