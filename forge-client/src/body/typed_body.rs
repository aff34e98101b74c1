use bytes::Bytes;
use forge_core::ConfigError;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::multipart::Form;
use url::Url;

use super::multipart::parameter;
use super::peek::read_ready;
use super::request_body::RequestBody;

/// A body with its content type.
pub(crate) struct TypedBody {
    pub(crate) body: RequestBody,
    pub(crate) content_type: Option<HeaderValue>,
    /// The text that separates the parts of a form. The content type must name it.
    boundary: Option<String>,
}

/// The maximum length in bytes of a form that is kept in memory.
const MAX_FORM: usize = 64 * 1024 * 1024;

impl TypedBody {
    pub(crate) fn untyped(body: RequestBody) -> Self {
        Self { body, content_type: None, boundary: None }
    }

    pub(crate) fn of(body: impl Into<Bytes>, content_type: &'static str) -> Self {
        let content_type = Some(HeaderValue::from_static(content_type));
        Self { content_type, ..Self::untyped(RequestBody::Bytes(body.into())) }
    }

    /// A form, as this client encodes it for any URL.
    pub(crate) fn form(form: Form, http: &reqwest::Client, url: &Url) -> Result<Self, ConfigError> {
        let boundary = Some(form.boundary().to_owned());
        let encoded = http.post(url.clone()).multipart(form).build();
        let mut encoded =
            encoded.map_err(|_| ConfigError::new("multipart", "parts that reqwest can send"))?;
        let content_type = encoded.headers_mut().remove(CONTENT_TYPE);
        // Goes with the body, if it is known.
        let length = encoded.headers_mut().remove(CONTENT_LENGTH);
        let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let is_short = |length| usize::try_from(length).is_ok_and(|length| length <= MAX_FORM);
        let body = encoded.body_mut().take().unwrap_or_default();
        let body = if length.is_some_and(is_short) { read_ready(body, length, MAX_FORM) } else { Err(body) };
        let body = body.map_or_else(|stream| RequestBody::Stream(Some(stream)), RequestBody::Bytes);
        Ok(Self { body, content_type, boundary })
    }

    /// Refuses a stream of unknown length with `GET`, `HEAD` and `CONNECT`: `hyper` sends no chunks with these
    /// methods, so the server would not get the body.
    pub(crate) fn check_length(&self, field: &'static str, method: &Method) -> Result<(), ConfigError> {
        if self.body.has_unknown_length() && [Method::GET, Method::HEAD, Method::CONNECT].contains(method) {
            let expected =
                format!("a body of known length: with `{method}` a stream of unknown length is not sent");
            return Err(ConfigError::new(field, expected));
        }
        Ok(())
    }

    /// Refuses the caller's headers if they hide where the parts of a form begin.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ConfigError> {
        match (&self.boundary, headers.get(CONTENT_TYPE)) {
            (Some(boundary), Some(content_type)) if !names_boundary(content_type, boundary) => {
                let expected = "a Content-Type with the form's own `boundary`, or none: a form brings one";
                Err(ConfigError::new("multipart", expected))
            }
            _ => Ok(()),
        }
    }

    /// The headers and the body to send. The caller's `Content-Type` wins over the body's own.
    pub(crate) fn with_content_type(self, mut headers: HeaderMap) -> (HeaderMap, RequestBody) {
        if let Some(content_type) = self.content_type {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        (headers, self.body)
    }

    /// A copy to show.
    pub(crate) fn without_stream(&self) -> Self {
        Self { body: self.body.without_stream(), content_type: self.content_type.clone(), boundary: None }
    }
}

/// RFC 2046 5.1.1
fn names_boundary(content_type: &HeaderValue, boundary: &str) -> bool {
    content_type.to_str().is_ok_and(|text| parameter(text, "boundary").as_deref() == Some(boundary))
}
