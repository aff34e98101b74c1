mod body;
mod entry;
mod mask;

use std::sync::Arc;

use http::Extensions;
use reqwest::Request;
use tracing::Level;

use crate::origin::{RequestUrl, Trust};

use entry::AttemptInfo;

pub(crate) use entry::LogEntry;
pub(crate) use mask::{Mask, RequestContent, Secrets};

/// Logs each request of a client through `tracing`.
///
/// Each attempt is an event with the target `forge_client::logging`: also each replay after a 401, each retry
/// and each hop of a redirect. The level is `INFO`; it is `WARN` for a status of 400 or above, and if no
/// response came.
///
/// | field | content |
/// | --- | --- |
/// | `method`, `url` | the URL without its query, which may hold secrets |
/// | `attempt` | the number of the request within the call, from 1 on |
/// | `status`, or `error` | the outcome |
/// | `elapsed_ms` | the time until the response's headers, or the error |
/// | `correlation_id` | the identifier, if there is a [`CorrelationId`](crate::CorrelationId) |
/// | `request_headers`, `response_headers`, `request_body` | masked, if the settings below are on |
///
/// A response's body, if its setting is on, is an event of its own, when the caller has read the body.
///
/// Paths are shown, except for that of a redirect that repeats a secret of the call. If an API takes a secret in
/// the path (`/bot<token>/…`), do not log its requests, nor its [errors](crate::HttpClientError). Filter them in
/// the subscriber, or log what is harmless in a [response hook](crate::ResponseHook) and an
/// [error hook](crate::ErrorHook) of your own.
///
/// Logging costs next to nothing while no subscriber takes such events.
///
/// | setting | default |
/// | --- | --- |
/// | [`log_headers`](Self::log_headers) | no |
/// | [`log_body`](Self::log_body) | no |
/// | [`max_body`](Self::max_body) | 16 KiB |
/// | [`sensitive_keys`](Self::sensitive_keys) | only the built-in names |
///
/// ```
/// use requestforge::{HttpClient, Logging};
///
/// let client = HttpClient::builder("https://api.example.com")
///     .with_logging(Logging::new().log_headers(true).sensitive_keys(["iban"]))
///     .build()?;
/// # Ok::<_, requestforge::HttpClientError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Logging {
    log_headers: bool,
    log_body: bool,
    max_body: usize,
    sensitive_keys: Arc<[String]>,
}

const TARGET: &str = "forge_client::logging";

impl Logging {
    /// Logs method, URL, status, duration and attempt.
    pub fn new() -> Self {
        Self { log_headers: false, log_body: false, max_body: 16 * 1024, sensitive_keys: Arc::new([]) }
    }

    /// Whether the log shows headers. Default: no.
    ///
    /// The log shows the values of [public headers](crate::HttpClientConfigBuilder::with_public_header), and of
    /// headers that by their standards carry no credential (`Age`, `Allow`, `Connection`, `Date`, `ETag`,
    /// `Expires`, `Host`, `Last-Modified`, `Location`, `Retry-After`, `Server`, `Vary`, `Via`, the numbers of a
    /// rate limit, …). It masks the values of all others, whatever their names. It also masks values marked
    /// sensitive, and values under one of the [`sensitive_keys`](Self::sensitive_keys).
    ///
    /// Servers echo requests. So the log masks in a response whatever it masks in the request: headers, the
    /// cookies and parameters in them, the query, the body. It does not search for values shorter than 6 bytes.
    /// If there are more than 1,024 values to search for, it masks every value. After 64 KiB of values it shows
    /// only their lengths. URLs, also relative ones and those within a text, lose user-info, query and fragment.
    /// If the log [cannot read](Self::log_body) the request's body, it masks most headers of the response.
    pub fn log_headers(mut self, log: bool) -> Self {
        self.log_headers = log;
        self
    }

    /// Whether the log shows bodies. Default: no.
    ///
    /// It shows only JSON and forms, because their values have names, and names tell which values are secret.
    /// Of other bodies, and of streams, it shows the length. It masks a value:
    ///
    /// - under a name such as `password`, `access_token` or `apiKey`, or under one of the
    ///   [`sensitive_keys`](Self::sensitive_keys);
    /// - without a name;
    /// - in which a server echoes what is masked in the request;
    /// - by the same rules in a text that is JSON, one level deep, and beside such a name
    ///   (`{"name":"password","value":"…"}`).
    ///
    /// It does not mask a value in a list of pairs (`["password","…"]`), and none in XML or other languages
    /// within a text.
    ///
    /// To recognise an echo, the log reads the request's body: the values in JSON, a form or a multipart form, or
    /// the whole of another body. It cannot read a stream, JSON or a form of more than 64 KiB, and a body that
    /// does not match its `Content-Type`. After such a request it shows only the length of the response's body, and
    /// of the response's headers only `Content-Type`, `Content-Length` and `Date`.
    ///
    /// The log does not recognise personal data. Masking is not the way to keep such data out of a log.
    pub fn log_body(mut self, log: bool) -> Self {
        self.log_body = log;
        self
    }

    /// The maximum length of a logged body in bytes; of a longer body the log shows only the length. Default:
    /// 16 KiB. At most 64 KiB, because the client searches a body for secrets on a thread of the runtime.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes.min(mask::MAX_SEARCHED);
        self
    }

    /// More names of headers, and of fields in bodies, whose values are masked. Case, `-` and `_` make no
    /// difference.
    pub fn sensitive_keys<S: Into<String>>(mut self, keys: impl IntoIterator<Item = S>) -> Self {
        let more = keys.into_iter().map(|key| mask::normalized(&key.into()));
        self.sensitive_keys = self.sensitive_keys.iter().cloned().chain(more).collect();
        self
    }

    /// The event of an attempt that has not ended; `None` if no subscriber wants it. `earlier`: the secrets that
    /// earlier hops of the call carried.
    pub(crate) fn begin<'a>(
        &self,
        request: &Request,
        url: &RequestUrl,
        trust: &'a Trust,
        attempt: u32,
        extensions: &Extensions,
        earlier: Option<&Secrets>,
    ) -> Option<LogEntry<'a>> {
        let is_wanted = tracing::enabled!(target: TARGET, Level::WARN);
        let attempt = || AttemptInfo::of(request.method(), url, attempt, extensions);
        is_wanted.then(|| LogEntry::new(self, request, trust, attempt(), earlier))
    }

    /// The names that [`sensitive_keys`](Self::sensitive_keys) added.
    pub(crate) fn more_names(&self) -> Arc<[String]> {
        Arc::clone(&self.sensitive_keys)
    }
}

impl Default for Logging {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
