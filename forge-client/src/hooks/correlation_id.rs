use std::fmt;
use std::sync::Arc;

use forge_core::{ConfigError, check_header_name, random_bits};
use http::{Extensions, HeaderName, HeaderValue};

use super::{HookResult, OutgoingRequest, RequestHook};

/// Gives each call an identifier, so that the logs of client and server can be matched. The identifier is a
/// header that is the same in all attempts and hops of a call. The log of
/// [`with_logging`](crate::HttpClientConfigBuilder::with_logging) shows it.
///
/// | setting | default |
/// | --- | --- |
/// | [`in_header`](Self::in_header) | `X-Correlation-ID` |
/// | [`generate_with`](Self::generate_with) | a random UUID (RFC 9562 5.4) |
///
/// If the request has that header already, the hook keeps it. The header is
/// [public](crate::RequestHook::public_headers): it goes to every origin, and the log shows its value.
///
/// ```no_run
/// use requestforge::{CorrelationId, HttpClient};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = HttpClient::builder("https://api.example.com")
///     .with_request_hook(CorrelationId::new())
///     .build()?;
/// let response = client.get("/users").send().await?;
/// println!("ask them about {:?}", CorrelationId::of(response.extensions()));
///
/// // Passes an identifier on that came with an incoming request.
/// # let incoming = "c0ffee";
/// client.get("/users").header("X-Correlation-ID", incoming).send().await?;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "CorrelationIdHook")]
#[derive(Clone)]
pub struct CorrelationId {
    header_name: HeaderName,
    generate: Arc<dyn Fn() -> String + Send + Sync>,
}

/// The identifier of a call, among its extensions.
#[derive(Clone)]
struct Identifier(HeaderValue);

impl CorrelationId {
    /// Sends a random UUID in `X-Correlation-ID`.
    #[must_use]
    pub fn new() -> Self {
        Self::named(HeaderName::from_static("x-correlation-id"))
    }

    /// Sends it in another header, such as `X-Request-ID`.
    ///
    /// # Errors
    ///
    /// The name is not that of a header, or the header follows from the body (`Content-Length`,
    /// `Transfer-Encoding`).
    pub fn in_header(name: &str) -> Result<Self, ConfigError> {
        let name = HeaderName::try_from(name)
            .map_err(|error| ConfigError::new("header_name", "a header name").with_source(error))?;
        check_header_name("header_name", &name)?;
        Ok(Self::named(name))
    }

    fn named(header_name: HeaderName) -> Self {
        Self { header_name, generate: Arc::new(random_uuid) }
    }

    /// Generates the identifiers. The client calls the closure once for each call. An identifier that does not
    /// fit into a header stops the call.
    #[must_use]
    pub fn generate_with(mut self, generate: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.generate = Arc::new(generate);
        self
    }

    /// The identifier of the call that has these extensions. `None` if it has none, or one that is not visible ASCII.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<&str> {
        extensions.get::<Identifier>()?.0.to_str().ok()
    }

    fn generated(&self) -> Result<HeaderValue, ConfigError> {
        HeaderValue::try_from((self.generate)())
            .map_err(|_| ConfigError::new("correlation_id", "a value that fits into a header"))
    }
}

impl Default for CorrelationId {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestHook for CorrelationId {
    fn before_request(&self, request: &mut OutgoingRequest<'_>) -> HookResult {
        let given = request.headers().get(&self.header_name).cloned();
        let known = request.extensions().get::<Identifier>().map(|known| known.0.clone());
        let is_given = given.is_some();
        let is_known = known.is_some();
        let value = match given.or(known) {
            Some(value) => value,
            None => self.generated()?,
        };
        if !is_given {
            request.set_header(self.header_name.clone(), value.clone())?;
        }
        // The first identifier stays that of the call, also if a second hook of this kind finds another one in
        // its header.
        if !is_known {
            request.extensions_mut().insert(Identifier(value));
        }
        Ok(())
    }

    fn public_headers(&self) -> Vec<HeaderName> {
        vec![self.header_name.clone()]
    }
}

fn random_uuid() -> String {
    let mut bits = random_bits();
    // Version 4, variant 10 (RFC 9562 4).
    bits = bits & !(0xf << 76) | 0x4 << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CorrelationId").field("header_name", &self.header_name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::HookedRequest;
    use super::*;

    #[test]
    fn it_is_the_same_in_all_attempts_of_a_call_and_another_in_the_next() {
        let hook = CorrelationId::new();
        let mut ids = Vec::new();
        for _ in 0..100 {
            let mut call = Extensions::new();
            for attempt in 1..4 {
                let mut sent = HookedRequest::to("https://a.example/x");
                sent.apply(&hook, attempt, &mut call).unwrap();
                assert_eq!(sent.header("x-correlation-id"), CorrelationId::of(&call));
                ids.push(CorrelationId::of(&call).unwrap().to_owned());
            }
        }
        ids.dedup();
        assert_eq!(ids.len(), 100);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }

    #[test]
    fn a_given_one_is_kept() {
        let mut call = Extensions::new();
        let mut sent = HookedRequest::to("https://a.example/x").with("x-correlation-id", "given");
        sent.apply(&CorrelationId::new(), 1, &mut call).unwrap();
        assert_eq!(
            (sent.header("x-correlation-id"), CorrelationId::of(&call)),
            (Some("given"), Some("given"))
        );
    }

    #[test]
    fn two_headers_carry_the_same_unless_one_is_given() {
        let (first, second) = (CorrelationId::new(), CorrelationId::in_header("X-Request-ID").unwrap());
        let mut call = Extensions::new();
        let mut ids = Vec::new();
        for attempt in 1..3 {
            let mut sent = HookedRequest::to("https://a.example/x");
            sent.apply(&first, attempt, &mut call).unwrap();
            sent.apply(&second, attempt, &mut call).unwrap();
            ids.extend(["x-correlation-id", "x-request-id"].map(|name| sent.header(name).map(str::to_owned)));
        }
        ids.dedup();
        assert!(ids.len() == 1 && ids[0].is_some(), "{ids:?}");

        let mut call = Extensions::new();
        for attempt in 1..3 {
            let mut sent = HookedRequest::to("https://a.example/x").with("x-request-id", "given");
            sent.apply(&first, attempt, &mut call).unwrap();
            sent.apply(&second, attempt, &mut call).unwrap();
            assert_eq!(sent.header("x-correlation-id"), CorrelationId::of(&call));
            assert_eq!(sent.header("x-request-id"), Some("given"));
            assert_ne!(CorrelationId::of(&call), Some("given"));
        }
    }

    #[test]
    fn random_ones_are_version_4_uuids() {
        for _ in 0..1_000 {
            let id = random_uuid();
            let parts: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{id}");
            assert!(id.chars().all(|c| matches!(c, '-' | '0'..='9' | 'a'..='f')), "{id}");
            assert!(id.as_bytes()[14] == b'4' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused_and_not_shown() {
        assert_eq!(CorrelationId::in_header("no name").unwrap_err().field(), "header_name");
        let hook = CorrelationId::new().generate_with(|| "canary\r\nx: y".into());
        let mut sent = HookedRequest::to("https://a.example/x");
        let error = sent.apply(&hook, 1, &mut Extensions::new()).unwrap_err();
        assert!(error.to_string().contains("correlation_id"), "{error}");
        assert!(!format!("{error:?} {error}").contains("canary"), "{error:?}");
    }
}
