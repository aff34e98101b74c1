mod form;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

use crate::HttpClientError;
use crate::body::{RequestBody, multipart_parts, parameter};
use crate::call::{ClientCore, Hop};
use crate::logging::{Mask, RequestContent};

/// A request as a command line for `curl`: see [`RequestBuilder::to_curl`](crate::RequestBuilder::to_curl).
///
/// `Display` writes it, quoted for a POSIX shell; `Debug` writes it too, and never with secrets.
#[must_use]
pub struct Curl<'a> {
    request: Result<ShownRequest<'a>, &'a HttpClientError>,
    with_secrets: bool,
}

struct ShownRequest<'a> {
    client: &'a ClientCore,
    hop: Hop<'a>,
    headers: HeaderMap,
    /// The request's own time-out; the client's is not shown.
    timeout: Option<Duration>,
}

impl<'a> Curl<'a> {
    /// `headers`: those of the hop, and those that authenticate it. `timeout`: the request's own, if it has one.
    pub(crate) fn of(
        client: &'a ClientCore,
        mut hop: Hop<'a>,
        headers: HeaderMap,
        timeout: Option<Duration>,
    ) -> Self {
        hop.url.remove_fragment();
        Self { request: Ok(ShownRequest { client, hop, headers, timeout }), with_secrets: false }
    }

    pub(crate) fn failed(error: &'a HttpClientError) -> Self {
        Self { request: Err(error), with_secrets: false }
    }

    /// Shows secrets instead of masking them: for a terminal of your own, not for a log.
    pub fn with_secrets(mut self) -> Self {
        self.with_secrets = true;
        self
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, with_secrets: bool) -> fmt::Result {
        match &self.request {
            Ok(shown) => shown.write(f, with_secrets),
            Err(error) => write!(f, "# no request: {error}"),
        }
    }
}

impl ShownRequest<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, with_secrets: bool) -> fmt::Result {
        let (hop, trust) = (&self.hop, &self.client.settings.trust);
        let mask = (!with_secrets).then(|| {
            let content = RequestContent { url: &hop.url, headers: &self.headers, body: hop.body.content() };
            Mask::of(&content, trust, [].into(), None)
        });

        f.write_str("curl")?;
        let has_body = !hop.body.is_empty();
        match hop.method {
            Method::HEAD => f.write_str(" --head")?,
            Method::GET if !has_body => {}
            _ => write!(f, " -X {}", word(hop.method.as_str()))?,
        }
        if let Some(timeout) = self.timeout.filter(|timeout| *timeout <= MAX_TIME) {
            write!(f, " --max-time {}", seconds(timeout))?;
        }
        let url = mask.as_ref().map_or_else(|| hop.url.to_string(), |mask| mask.url(&hop.url));
        if url.contains(['[', ']', '{', '}']) {
            // Else curl takes them for patterns.
            f.write_str(" --globoff")?;
        }
        write!(f, " {}", quoted(&url))?;
        let form = self.form(mask.as_ref());
        for (name, value) in &self.headers {
            if form.is_some() && name == CONTENT_TYPE {
                // `curl` writes this header itself, with the boundary that it chooses.
                continue;
            }
            let value = match &mask {
                Some(mask) => mask.header_value(name, value, &hop.url, trust),
                None => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            // A header without a value is one that curl leaves out; this is how it sends an empty one.
            let header = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            write!(f, " -H {}", quoted(&header))?;
        }
        if let Some(form) = form {
            write!(f, " {form}")?;
        } else if has_body {
            let content_type = self.headers.get(CONTENT_TYPE);
            if content_type.is_none() {
                // Else curl calls it a form.
                f.write_str(" -H 'content-type:'")?;
            }
            write!(f, " {}", data(&hop.body, content_type, mask.as_ref()))?;
        }
        Ok(())
    }

    /// The body as `curl` options for a multipart form; `None` if it is none, or `curl` has no options for it.
    fn form(&self, mask: Option<&Mask>) -> Option<String> {
        let body = self.hop.body.bytes().filter(|body| body.len() <= MAX_FORM)?;
        let content_type = self.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let parts = multipart_parts(body, &parameter(content_type, "boundary")?)?;
        let values = match mask {
            Some(mask) => mask.part_values(&parts),
            None => parts.iter().map(|part| part.text().map(ToOwned::to_owned)).collect(),
        };
        form::options(&parts, &values).filter(|options| options.len() <= MAX_SHOWN)
    }
}

/// The time-out in seconds, rounded up to the millisecond, in which `curl` counts. Rounding up never gives 0,
/// which `curl` takes for no limit.
fn seconds(timeout: Duration) -> f64 {
    (timeout.as_secs_f64() * 1e3).ceil() / 1e3
}

/// The body, if it can be shown; else it has to come from elsewhere.
fn data(body: &RequestBody, content_type: Option<&HeaderValue>, mask: Option<&Mask>) -> String {
    let text = body.bytes().and_then(|body| std::str::from_utf8(body).ok());
    let text = text.filter(|text| text.len() <= MAX_SHOWN && !text.contains('\0'));
    let shown = text.and_then(|text| match mask {
        None => Some(text.to_owned()),
        Some(mask) => mask.known_body(content_type, text.as_bytes()),
    });
    shown.map_or_else(|| "--data-binary @-".to_owned(), |text| format!("--data-raw {}", quoted(&text)))
}

/// The maximum length in bytes of a shown body. Some systems do not accept longer command lines.
const MAX_SHOWN: usize = 64 * 1024;

/// The maximum length in bytes of a form that is split into its parts. It is larger than [`MAX_SHOWN`], because
/// the command line contains only the name of a file.
const MAX_FORM: usize = 4 * 1024 * 1024;

/// The maximum time-out that `curl` accepts: on some machines it counts milliseconds in 32 bits.
const MAX_TIME: Duration = Duration::from_millis(i32::MAX as u64);

/// Quotes a method if needed. A method may be any token (RFC 9110 5.6.2), and a token may contain most
/// characters that a shell acts on.
fn word(text: &str) -> Cow<'_, str> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if is_plain { text.into() } else { quoted(text).into() }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl fmt::Display for Curl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.with_secrets)
    }
}

impl fmt::Debug for Curl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}
