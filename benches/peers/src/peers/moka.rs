//! A cache that many programs build themselves: moka's async cache, with `try_get_with` for a single fetch,
//! and entries that live as long as their tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use super::{Peer, fetch};
use crate::Failure;
use crate::token_server::TokenServer;

pub struct Moka {
    cache: Cache<&'static str, Token>,
    client: reqwest::Client,
    url: String,
}

#[derive(Clone)]
pub struct Token {
    text: Arc<str>,
    lifetime: Duration,
}

impl Moka {
    pub async fn connect(server: &TokenServer) -> Result<Self, Failure> {
        let cache = Cache::builder().max_capacity(100).expire_after(Lifetime).build();
        Ok(Self { cache, client: reqwest::Client::new(), url: server.url() })
    }
}

impl Peer for Moka {
    type Token = Arc<str>;
    type Error = Failure;

    async fn token(&self) -> Result<Self::Token, Failure> {
        if let Some(token) = self.cache.get(KEY).await {
            return Ok(token.text);
        }
        let fetched = async {
            let (text, lifetime) = fetch(&self.client, &self.url).await?;
            Ok::<_, Failure>(Token { text, lifetime })
        };
        let token = self.cache.try_get_with(KEY, fetched).await;
        Ok(token.map_err(|error: Arc<Failure>| error.to_string())?.text)
    }
}

const KEY: &str = "service:client:read";

struct Lifetime;

impl Expiry<&'static str, Token> for Lifetime {
    fn expire_after_create(&self, _: &&'static str, token: &Token, _: Instant) -> Option<Duration> {
        Some(token.lifetime)
    }
}
