//! Tokens in Redis: the stored records, the reading of foreign records, the logins, and the costs. The suite
//! `outages` tests what happens when Redis is gone.

#![allow(clippy::expect_used)]

#[path = "../canary/canaries.rs"]
mod canaries;
#[path = "../durations/extremes.rs"]
mod extremes;
#[path = "../../../forge-token/tests/refresh_tokens/issuer.rs"]
mod issuer;
#[path = "../canary/logs.rs"]
mod logs;
#[path = "../servers/one.rs"]
mod servers;

mod configured;
mod conformance;
mod connections;
mod durations;
mod echo;
mod fence;
mod garbage;
mod logins;
mod marks;
mod record;
mod refresh_states;
mod schema;
mod secrets;
mod settings;
mod side_data;
mod world;

use requestforge::RedisTokenStorage;
use requestforge::storage::RedisTokenStorageBuilder;

/// The library's names, as `issuer.rs` needs them.
mod api {
    pub(crate) use forge_tests::StatusCode;
    pub(crate) use requestforge::token::Clock;
    pub(crate) use requestforge::{
        AuthenticationError, AuthenticationErrorKind, TokenData, TokenProvider, async_trait,
    };
}

fn patient(url: &str) -> RedisTokenStorageBuilder {
    RedisTokenStorage::builder(url).command_timeout(world::PATIENCE)
}
