//! What is done with each request, answer and failure.

use std::sync::Arc;

use super::HttpClientConfigBuilder;
use crate::hooks::{ErrorHook, RequestHook, ResponseHook};
use crate::logging::Logging;

impl<T> HttpClientConfigBuilder<T> {
    /// One more hook that sees requests before they are sent, and may change their headers: a closure, a
    /// [`CorrelationId`](crate::CorrelationId), any [`RequestHook`].
    pub fn with_request_hook(mut self, hook: impl RequestHook + 'static) -> Self {
        self.settings.hooks.request.push(Arc::new(hook));
        self
    }

    /// One more hook that sees answers: a closure, a [`RateLimitReader`](crate::RateLimitReader), any
    /// [`ResponseHook`].
    pub fn with_response_hook(mut self, hook: impl ResponseHook + 'static) -> Self {
        self.settings.hooks.response.push(Arc::new(hook));
        self
    }

    /// One more hook that sees with which error a call ends: a closure, any [`ErrorHook`].
    pub fn with_error_hook(mut self, hook: impl ErrorHook + 'static) -> Self {
        self.settings.hooks.error.push(Arc::new(hook));
        self
    }

    /// Tells of each attempt through `tracing`: method, URL without query, status, duration; headers and
    /// bodies if asked for, with secrets masked. See [`Logging`].
    pub fn with_logging(mut self, logging: Logging) -> Self {
        self.settings.logging = Some(logging);
        self
    }
}
