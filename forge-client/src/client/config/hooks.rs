//! Hooks, and the log.

use std::sync::Arc;

use super::HttpClientConfigBuilder;
use crate::hooks::{ErrorHook, RequestHook, ResponseHook};
use crate::logging::Logging;

impl<T> HttpClientConfigBuilder<T> {
    /// Adds a hook that sees requests before the client sends them, and may change their headers: a closure, a
    /// [`CorrelationId`](crate::CorrelationId), or any [`RequestHook`].
    pub fn with_request_hook(mut self, hook: impl RequestHook + 'static) -> Self {
        self.settings.hooks.request.push(Arc::new(hook));
        self
    }

    /// Adds a hook that sees responses: a closure, a [`RateLimitReader`](crate::RateLimitReader), or any
    /// [`ResponseHook`].
    pub fn with_response_hook(mut self, hook: impl ResponseHook + 'static) -> Self {
        self.settings.hooks.response.push(Arc::new(hook));
        self
    }

    /// Adds a hook that sees the error with which a call ends: a closure, or any [`ErrorHook`].
    pub fn with_error_hook(mut self, hook: impl ErrorHook + 'static) -> Self {
        self.settings.hooks.error.push(Arc::new(hook));
        self
    }

    /// Logs each attempt through `tracing`: method, URL without query, status and duration. Headers and bodies are
    /// optional, with masked secrets. See [`Logging`].
    pub fn with_logging(mut self, logging: Logging) -> Self {
        self.settings.logging = Some(logging);
        self
    }
}
