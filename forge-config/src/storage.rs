//! The storage of a service's tokens.

use forge_token::TokenManagerBuilder;

use crate::service::field;
use crate::{ServiceConfig, ServiceConfigError};

#[cfg(feature = "storage-redis")]
impl ServiceConfig {
    pub(crate) fn with_storage(
        &self,
        manager: TokenManagerBuilder,
    ) -> Result<TokenManagerBuilder, ServiceConfigError> {
        use forge_core::ConfigError;
        use forge_storage_redis::RedisTokenStorage;

        let Some(address) = field!(self, redis_url)? else { return Ok(manager) };
        let url = address.0.read_blocking().map_err(|error| {
            let cause = ConfigError::new("redis_url", "a readable address").with_source(error);
            self.error(&["redis_url"], cause)
        })?;
        let mut storage = RedisTokenStorage::builder(url.expose());
        if let Some(password) = field!(self, redis_password)? {
            storage = storage.password(password.0.clone());
        }
        if let Some(prefix) = field!(self, redis_key_prefix)? {
            storage = storage.key_prefix(prefix);
        }
        let storage = storage.build().map_err(|cause| {
            let field = match cause.field() {
                "key_prefix" => "redis_key_prefix",
                "password" => "redis_password",
                _ => "redis_url",
            };
            self.error(&[field], cause)
        })?;
        Ok(manager.storage(storage))
    }
}

#[cfg(not(feature = "storage-redis"))]
impl ServiceConfig {
    pub(crate) fn with_storage(
        &self,
        manager: TokenManagerBuilder,
    ) -> Result<TokenManagerBuilder, ServiceConfigError> {
        match field!(self, redis_url)? {
            None => Ok(manager),
            Some(_) => {
                Err(self
                    .error_expecting("redis_url", "a program that is built with the feature `storage-redis`"))
            }
        }
    }
}
