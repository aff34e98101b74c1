mod command_line;
mod content;
mod fields;
mod names;
mod references;
mod secrets;

use std::fmt::Write as _;
use std::sync::Arc;

use forge_core::{SecretFinder, is_printable};
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, DATE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::origin::Trust;

use fields::{BodyKind, Fields, Pair, byte_list, json_in};
use names::SensitiveNames;
use references::without_queries;

pub(crate) use content::RequestContent;
pub(super) use names::normalized;
pub(crate) use secrets::Secrets;

/// The text in place of a secret.
const MASKED: &str = "***";

/// The maximum number of bytes of a body, or of a response's headers, that the log searches for secrets. Attack: a
/// server could keep a thread of the runtime busy with a longer one.
pub(super) const MAX_SEARCHED: usize = 64 * 1024;

/// Knows secrets by their names, and those of one request by their values.
pub(crate) struct Mask {
    names: SensitiveNames,
    secrets: SecretFinder,
    /// Whether the request may hold secrets that the mask does not know, and that a server may echo.
    is_incomplete: bool,
}

impl Mask {
    /// A mask for one request and its response. It masks values under the known names and under `keys`, which are
    /// [normalized], and the secrets of this request and of the `earlier` hops wherever a server echoes them.
    pub(crate) fn of(
        content: &RequestContent<'_>,
        trust: &Trust,
        keys: Arc<[String]>,
        earlier: Option<&Secrets>,
    ) -> Self {
        let names = SensitiveNames::new(keys);
        let mut secrets = earlier.cloned().unwrap_or_default();
        secrets.learn(content, &names, trust);
        let is_incomplete = secrets.are_incomplete();
        Self { names, secrets: secrets.into_finder(), is_incomplete }
    }

    /// A mask that masks nothing.
    pub(super) fn none() -> Self {
        let (names, secrets) = (SensitiveNames::new(Arc::new([])), Secrets::default().into_finder());
        Self { names, secrets, is_incomplete: false }
    }

    /// Names and values in one line. After [`MAX_SEARCHED`] bytes of values, only their lengths.
    pub(super) fn headers(&self, headers: &HeaderMap, url: &Url, trust: &Trust) -> String {
        let mut line = String::new();
        let mut searched: usize = 0;
        for (name, value) in headers {
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = write!(line, "{separator}{name}: ");
            let _ = if self.names.is_secret_header(name, value, trust) {
                line.write_str(MASKED)
            } else if value.len() > MAX_SEARCHED - searched {
                write!(line, "{} bytes", value.len())
            } else {
                searched += value.len();
                match self.header(name, value, url, trust) {
                    Some(shown) => write!(line, "{shown:?}"),
                    None => line.write_str(MASKED),
                }
            };
        }
        line
    }

    /// A body that is JSON or a form and not longer than `max`; of other bodies the length.
    pub(super) fn body(&self, content_type: Option<&HeaderValue>, body: &[u8], max: usize) -> String {
        let is_short = body.len() <= max;
        let fields = BodyKind::of(content_type).filter(|_| is_short).and_then(|kind| kind.read(body));
        let Some(shown) = fields.and_then(|fields| self.fields(fields)) else {
            return format!("{} bytes", body.len());
        };
        shown.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect()
    }

    /// As [`headers`](Self::headers), of a response. If the mask does not know all secrets of the request, it
    /// shows only headers in which no server echoes a request.
    pub(super) fn answer_headers(&self, headers: &HeaderMap, url: &Url, trust: &Trust) -> String {
        if !self.is_incomplete {
            return self.headers(headers, url, trust);
        }
        let mut shown = headers.clone();
        for (name, value) in &mut shown {
            if ![CONTENT_LENGTH, CONTENT_TYPE, DATE].contains(name) {
                value.set_sensitive(true);
            }
        }
        self.headers(&shown, url, trust)
    }

    /// As [`body`](Self::body), of a response. If the mask does not know all secrets of the request: only the
    /// length.
    pub(super) fn answer_body(&self, content_type: Option<&HeaderValue>, body: &[u8], max: usize) -> String {
        self.body(content_type, body, if self.is_incomplete { 0 } else { max })
    }

    /// The masked fields as text; `None` for a kind of body that the log does not show.
    fn fields(&self, fields: Fields) -> Option<String> {
        match fields {
            Fields::Json(mut value) => {
                self.mask_json(&mut value, TextPosition::Unnamed);
                Some(value.to_string())
            }
            Fields::Form(pairs) => Some(self.form(&pairs)),
            Fields::Multipart(_) => None,
        }
    }

    fn header(&self, name: &HeaderName, value: &HeaderValue, url: &Url, trust: &Trust) -> Option<String> {
        if self.names.is_secret_header(name, value, trust) {
            return None;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_reference = [LOCATION, CONTENT_LOCATION].contains(name);
        Some(if is_reference {
            // Order: search the text before `Url` parses it: `Url` writes a host in lower case, and backslashes
            // as slashes.
            if self.secrets.is_in(&text) {
                return None;
            }
            self.text(url.join(&text).ok()?.as_str(), TextPosition::Named)
        } else {
            self.text(&text, TextPosition::Named)
        })
    }

    fn mask_json(&self, value: &mut Value, position: TextPosition) {
        if byte_list(value).is_some_and(|list| self.secrets.is_in(&list)) {
            *value = MASKED.into();
            return;
        }
        match value {
            Value::Object(fields) => {
                let siblings = self.names.of_object(fields);
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut value)| {
                        if siblings.is_secret(&name) {
                            value = MASKED.into();
                        } else {
                            self.mask_json(&mut value, position.named());
                        }
                        (self.text(&name, TextPosition::InText), value)
                    })
                    .collect();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item, position)),
            Value::String(_) | Value::Number(_) if position == TextPosition::Unnamed => {
                *value = MASKED.into();
            }
            Value::String(text) => *text = self.text(text, position),
            Value::Number(number) if self.secrets.is_in(&number.to_string()) => *value = MASKED.into(),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn form(&self, pairs: &[Pair]) -> String {
        let siblings = self.names.of_pairs(pairs);
        let mut masked = form_urlencoded::Serializer::new(String::new());
        for Pair { name, value } in pairs {
            let Some(value) = value else {
                masked.append_key_only(MASKED);
                continue;
            };
            let value = if siblings.is_secret(name) {
                MASKED.to_owned()
            } else {
                self.text(value, TextPosition::Named)
            };
            masked.append_pair(&self.text(name, TextPosition::InText), &value);
        }
        masked.finish()
    }

    /// A text whose name is not that of a secret. It may still repeat a secret, or be JSON with a secret in it.
    /// References in it lose their user-info and query.
    fn text(&self, text: &str, position: TextPosition) -> String {
        if self.secrets.is_in(text) {
            return MASKED.to_owned();
        }
        match json_in(text) {
            Some(mut json) if position == TextPosition::Named => {
                self.mask_json(&mut json, TextPosition::InText);
                json.to_string()
            }
            Some(_) => MASKED.to_owned(),
            None => without_queries(text),
        }
    }
}

/// The position of a text or a piece of JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextPosition {
    Unnamed,
    Named,
    /// Within a text that is JSON. Attack: a server could nest texts until the stack is used up, so deeper ones
    /// are masked.
    InText,
}

impl TextPosition {
    fn named(self) -> Self {
        if self == Self::Unnamed { Self::Named } else { self }
    }
}

#[cfg(test)]
mod tests;
