use std::borrow::Cow;
use std::fmt;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Request;

use crate::HttpClientError;
use crate::client::Inner;
use crate::hop::{Hop, RequestBody};
use crate::logging::Mask;

/// A request as a command line for `curl`: see [`RequestBuilder::to_curl`](crate::RequestBuilder::to_curl).
///
/// `Display` writes it, quoted for a POSIX shell; `Debug` writes it too, and never with secrets.
#[must_use]
pub struct Curl<'a> {
    request: Result<Shown<'a>, &'a HttpClientError>,
    with_secrets: bool,
}

struct Shown<'a> {
    client: &'a Inner,
    hop: Hop<'a>,
    headers: HeaderMap,
}

impl<'a> Curl<'a> {
    /// `headers`: those of the hop, with what authenticates it.
    pub(crate) fn of(client: &'a Inner, mut hop: Hop<'a>, headers: HeaderMap) -> Self {
        // Never sent (RFC 3986 3.5).
        hop.url.set_fragment(None);
        Self { request: Ok(Shown { client, hop, headers }), with_secrets: false }
    }

    pub(crate) fn failed(error: &'a HttpClientError) -> Self {
        Self { request: Err(error), with_secrets: false }
    }

    /// Writes out what is masked otherwise: for a terminal of one's own, not for a log.
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

impl Shown<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, with_secrets: bool) -> fmt::Result {
        let (hop, trust) = (&self.hop, &self.client.trust);
        let mask = (!with_secrets).then(|| {
            let mut request = Request::new(hop.method.clone(), hop.url.clone());
            *request.headers_mut() = self.headers.clone();
            *request.body_mut() = hop.body.at_hand().map(|body| body.to_vec().into());
            Mask::of(&request, trust, [].into())
        });

        f.write_str("curl")?;
        let has_body = !hop.body.is_empty();
        match hop.method {
            Method::HEAD => f.write_str(" --head")?,
            Method::GET if !has_body => {}
            _ => write!(f, " -X {}", word(hop.method.as_str()))?,
        }
        let url = mask.as_ref().map_or_else(|| hop.url.to_string(), |mask| mask.url(&hop.url));
        if url.contains(['[', ']', '{', '}']) {
            // Else curl takes them for patterns.
            f.write_str(" --globoff")?;
        }
        write!(f, " {}", quoted(&url))?;
        for (name, value) in &self.headers {
            let value = match &mask {
                Some(mask) => mask.header_value(name, value, &hop.url, trust),
                None => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            // A header without a value is one that curl leaves out; this is how it sends an empty one.
            let header = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            write!(f, " -H {}", quoted(&header))?;
        }
        if has_body {
            let content_type = self.headers.get(CONTENT_TYPE);
            if content_type.is_none() {
                // Else curl calls it a form.
                f.write_str(" -H 'content-type:'")?;
            }
            write!(f, " {}", data(&hop.body, content_type, mask.as_ref()))?;
        }
        Ok(())
    }
}

/// The body, if it can be shown; else it has to come from elsewhere.
fn data(body: &RequestBody, content_type: Option<&HeaderValue>, mask: Option<&Mask>) -> String {
    let text = body.at_hand().and_then(|body| std::str::from_utf8(body).ok());
    let text = text.filter(|text| text.len() <= MAX_SHOWN && !text.contains('\0'));
    let shown = text.and_then(|text| match mask {
        None => Some(text.to_owned()),
        Some(mask) => mask.known_body(content_type, text.as_bytes()),
    });
    shown.map_or_else(|| "--data-binary @-".to_owned(), |text| format!("--data-raw {}", quoted(&text)))
}

/// More does not fit into a command line everywhere.
const MAX_SHOWN: usize = 64 * 1024;

/// A method may be any token (RFC 9110 5.6.2), and most of what a shell acts on may stand in one.
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
