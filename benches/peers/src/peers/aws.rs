//! The identity cache of the AWS SDKs, around a token call of our own. The SDKs have no OAuth2 call whose
//! endpoint could be chosen.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityFuture, ResolveCachedIdentity, ResolveIdentity, SharedIdentityCache,
    SharedIdentityResolver,
};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;

use super::{Peer, fetch};
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Aws {
    cache: SharedIdentityCache,
    resolver: SharedIdentityResolver,
    components: RuntimeComponents,
    config: ConfigBag,
}

impl Aws {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        let components = RuntimeComponentsBuilder::for_tests()
            .with_sleep_impl(Some(TokioSleep::new()))
            .with_time_source(Some(SystemTimeSource::new()))
            .build()?;
        let resolver = Resolver { client: reqwest::Client::new(), url: server.url() };
        Ok(Self {
            cache: IdentityCache::lazy().build(),
            resolver: SharedIdentityResolver::new(resolver),
            components,
            config: ConfigBag::base(),
        })
    }
}

impl Peer for Aws {
    type Token = Identity;
    type Error = Failure;

    fn token(&self) -> impl Future<Output = Result<Self::Token, Self::Error>> + Send {
        self.cache.resolve_cached_identity(self.resolver.clone(), &self.components, &self.config)
    }
}

#[derive(Debug)]
struct Resolver {
    client: reqwest::Client,
    url: String,
}

impl ResolveIdentity for Resolver {
    fn resolve_identity<'a>(&'a self, _: &'a RuntimeComponents, _: &'a ConfigBag) -> IdentityFuture<'a> {
        IdentityFuture::new(async {
            let (token, lifetime) = fetch(&self.client, &self.url).await?;
            Ok(Identity::new(Token(token), Some(SystemTime::now() + lifetime)))
        })
    }
}

/// The suite never reads the token. It only measures how the cache hands it out.
struct Token(#[allow(dead_code)] Arc<str>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
