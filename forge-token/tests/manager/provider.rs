//! A provider whose answers each test writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_core::{AuthenticationError, AuthenticationErrorKind, TokenData, TokenProvider, async_trait};

/// A provider whose answers each test writes. It counts its calls.
pub(crate) struct ScriptedProvider<F> {
    pub(crate) calls: AtomicUsize,
    pub(crate) refreshes: AtomicUsize,
    pub(crate) fetch: F,
    pub(crate) refresh: Option<AuthenticationErrorKind>,
}

impl<F, Fut> ScriptedProvider<F>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<TokenData, AuthenticationError>> + Send + 'static,
{
    pub(crate) fn new(fetch: F) -> Arc<Self> {
        Arc::new(Self { calls: AtomicUsize::new(0), refreshes: AtomicUsize::new(0), fetch, refresh: None })
    }

    pub(crate) fn failing_to_refresh(kind: AuthenticationErrorKind, fetch: F) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
            fetch,
            refresh: Some(kind),
        })
    }
}

impl<F> ScriptedProvider<F> {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl<F, Fut> TokenProvider for ScriptedProvider<F>
where
    F: Fn(usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<TokenData, AuthenticationError>> + Send + 'static,
{
    fn service_name(&self) -> &'static str {
        "scripted"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        (self.fetch)(self.calls.fetch_add(1, Ordering::SeqCst) + 1).await
    }

    async fn refresh_token(&self, _current: &TokenData) -> Result<TokenData, AuthenticationError> {
        let number = self.refreshes.fetch_add(1, Ordering::SeqCst) + 1;
        match &self.refresh {
            Some(kind) => Err(AuthenticationError::new("", kind.clone())),
            None => Ok(TokenData::new(format!("refreshed {number}")).with_refresh_token("r")),
        }
    }
}
