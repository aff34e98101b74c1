//! Hooks: code of users that sees each request, each response and each failure.

mod correlation_id;
mod error_hook;
mod outcome;
mod rate_limit;
mod request_hook;
mod response_hook;

use std::fmt;
use std::sync::Arc;

use crate::HttpClientError;

pub use correlation_id::CorrelationId;
pub use error_hook::{ErrorHook, FailedCall};
pub use outcome::{HookResult, IgnoringFailures, IntoHookResult};
pub use rate_limit::{RateLimit, RateLimitReader};
pub use request_hook::{OutgoingRequest, RequestHook};
pub use response_hook::{ReceivedResponse, ResponseHook};

/// The hooks of a client, each kind in the order in which they were registered.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) request: Vec<Arc<dyn RequestHook>>,
    pub(crate) response: Vec<Arc<dyn ResponseHook>>,
    pub(crate) error: Vec<Arc<dyn ErrorHook>>,
}

impl Hooks {
    /// Runs the hooks in order; the first one that fails ends the call.
    pub(crate) fn before_request(&self, request: &mut OutgoingRequest<'_>) -> Result<(), HttpClientError> {
        self.request.iter().try_for_each(|hook| hook.before_request(request)).map_err(HttpClientError::hook)
    }

    /// Runs the hooks in order; the first one that fails ends the call.
    pub(crate) fn after_response(&self, response: &mut ReceivedResponse<'_>) -> Result<(), HttpClientError> {
        self.response.iter().try_for_each(|hook| hook.after_response(response)).map_err(HttpClientError::hook)
    }

    pub(crate) fn on_error(&self, failed: &FailedCall<'_>) {
        for hook in &self.error {
            hook.on_error(failed);
        }
    }
}

/// Only the numbers of hooks: a hook may be a closure, which has no `Debug`.
impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("request", &self.request.len())
            .field("response", &self.response.len())
            .field("error", &self.error.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::sync::Mutex;

    use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
    use url::Url;

    use super::*;
    use crate::origin::Origin;
    use crate::origin::RequestUrl;
    use crate::origin::Trust;

    /// A request that hooks see. Trusted at `https://a.example`.
    pub(super) struct HookedRequest {
        url: RequestUrl,
        headers: HeaderMap,
        trust: Trust,
    }

    impl HookedRequest {
        pub(super) fn to(url: &str) -> Self {
            let trust = Trust {
                origins: vec![Origin::of(&Url::parse("https://a.example").unwrap())],
                sensitive_names: vec![HeaderName::from_static("x-odd")],
                public_names: vec![HeaderName::from_static("x-plain")],
            };
            Self { url: Url::parse(url).unwrap().into(), headers: HeaderMap::new(), trust }
        }

        pub(super) fn with(mut self, name: &'static str, value: &'static str) -> Self {
            self.headers.insert(name, HeaderValue::from_static(value));
            self
        }

        pub(super) fn header(&self, name: &str) -> Option<&str> {
            self.headers.get(name)?.to_str().ok()
        }

        pub(super) fn apply(
            &mut self,
            hook: &impl RequestHook,
            attempt: u32,
            extensions: &mut Extensions,
        ) -> HookResult {
            hook.before_request(&mut self.seen(attempt, extensions))
        }

        fn seen<'a>(&'a mut self, attempt: u32, extensions: &'a mut Extensions) -> OutgoingRequest<'a> {
            let is_trusted = self.trust.origins.iter().any(|origin| origin.contains(&self.url));
            let Self { url, headers, trust } = self;
            let (method, body) = (&Method::GET, None);
            OutgoingRequest { method, url, headers, body, attempt, is_trusted, trust, extensions }
        }
    }

    fn answered<T>(look: impl FnOnce(&mut ReceivedResponse<'_>) -> T) -> T {
        look(&mut ReceivedResponse {
            method: &Method::GET,
            url: &Url::parse("https://a.example/x").unwrap().into(),
            status: StatusCode::OK,
            headers: &HeaderMap::new(),
            attempt: 1,
            elapsed: std::time::Duration::ZERO,
            extensions: &mut Extensions::new(),
        })
    }

    #[test]
    fn inv13_what_may_be_a_credential_is_set_at_trusted_origins_only() {
        let hook = |request: &mut OutgoingRequest<'_>| {
            for name in ["authorization", "x-api-key", "x-odd", "cookie", "jenkins-crumb", "x-plain"] {
                request.set_header(name, "hook")?;
            }
            let mut sensitive = HeaderValue::from_static("hook");
            sensitive.set_sensitive(true);
            request.set_header("x-request-id", sensitive)
        };
        let names =
            ["authorization", "x-api-key", "x-odd", "cookie", "jenkins-crumb", "x-request-id", "x-plain"];
        for (url, set) in [("https://a.example/x", &names[..]), ("https://b.example/x", &["x-plain"])] {
            let mut sent = HookedRequest::to(url).with("accept", "x");
            sent.apply(&hook, 1, &mut Extensions::new()).unwrap();
            for name in names {
                assert_eq!(sent.header(name).is_some(), set.contains(&name), "{name} at {url}");
            }
            assert_eq!(sent.header("accept"), Some("x"));
        }
        // The caller's own header goes where the caller sends it, and a hook does not change it.
        let mut sent = HookedRequest::to("https://b.example/x").with("authorization", "own");
        sent.apply(&hook, 1, &mut Extensions::new()).unwrap();
        assert_eq!(sent.header("authorization"), Some("own"));
    }

    #[test]
    fn hooks_have_their_turn_in_order_until_one_fails() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |name: &'static str| {
            let seen = Arc::clone(&seen);
            move || seen.lock().unwrap().push(name)
        };
        let failing = |note: Box<dyn Fn() + Send + Sync>| {
            move |_: &mut OutgoingRequest<'_>| {
                note();
                Err("no")
            }
        };
        let (first, second, third, fourth) = (note("1"), note("2"), note("3"), note("4"));
        let hooks = Hooks {
            request: vec![
                Arc::new(move |_: &mut OutgoingRequest<'_>| first()),
                Arc::new(IgnoringFailures(failing(Box::new(second)))),
                Arc::new(failing(Box::new(third))),
                Arc::new(move |_: &mut OutgoingRequest<'_>| fourth()),
            ],
            response: vec![
                Arc::new(IgnoringFailures(|_: &mut ReceivedResponse<'_>| Err("ignored"))),
                Arc::new(|_: &mut ReceivedResponse<'_>| Err("told")),
            ],
            error: Vec::new(),
        };
        let mut sent = HookedRequest::to("https://a.example/x");
        let error = hooks.before_request(&mut sent.seen(1, &mut Extensions::new())).unwrap_err();
        assert!(error.is_hook(), "{error:?}");
        assert_eq!(error.source().unwrap().to_string(), "no");
        assert_eq!(*seen.lock().unwrap(), ["1", "2", "3"]);
        let error = answered(|response| hooks.after_response(response)).unwrap_err();
        assert_eq!((error.is_hook(), error.source().unwrap().to_string()), (true, "told".into()));
    }

    #[test]
    fn debug_shows_names_and_no_values() {
        let mut sent = HookedRequest::to("https://a.example/x?canary=1#canary").with("x-a", "canary");
        let mut extensions = Extensions::new();
        extensions.insert("canary");
        let shown = format!("{:?}", sent.seen(2, &mut extensions));
        assert!(
            shown.contains("x-a") && shown.contains("attempt: 2") && !shown.contains("canary"),
            "{shown}"
        );
    }
}
