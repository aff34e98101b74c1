mod command_line;
mod fields;
mod names;
mod secrets;

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::{CONTENT_LOCATION, CONTENT_TYPE, LINK, LOCATION, REFRESH};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Request;
use serde_json::Value;
use url::{Url, form_urlencoded};

use crate::hop::Trust;
use crate::target::presentable;

use fields::Fields;
use names::Names;
use secrets::Secrets;

pub(super) use names::normalized;

/// What takes the place of a secret.
const MASKED: &str = "***";

/// Knows secrets by their names, and those of one request by their values.
pub(crate) struct Mask {
    names: Names,
    secrets: Secrets,
}

impl Mask {
    /// With these names, [normalized], besides those that are known, and with the secrets of this request:
    /// they are masked wherever a server echoes them.
    pub(crate) fn of(request: &Request, trust: &Trust, keys: Arc<[String]>) -> Self {
        let names = Names::new(keys);
        let mut secrets = Secrets::default();
        secrets.learn_headers(request.headers(), |name, value| names.mask_header(name, value, trust));
        if let Some(query) = request.url().query() {
            secrets.learn_query(query, |name| names.mask_field(name));
        }
        if let Some(body) = request.body().and_then(reqwest::Body::as_bytes)
            && let Some(fields) = Fields::read(request.headers().get(CONTENT_TYPE), body)
        {
            secrets.learn_fields(&fields, |name| names.mask_field(name));
        }
        Self { names, secrets }
    }

    /// One that has nothing to mask.
    pub(super) fn none() -> Self {
        Self { names: Names::new(Arc::new([])), secrets: Secrets::default() }
    }

    /// Names and values, in one line.
    pub(super) fn headers(&self, headers: &HeaderMap, url: &Url, trust: &Trust) -> String {
        let mut line = String::new();
        for (name, value) in headers {
            let separator = if line.is_empty() { "" } else { ", " };
            let _ = match self.header(name, value, url, trust) {
                Some(shown) => write!(line, "{separator}{name}: {shown:?}"),
                None => write!(line, "{separator}{name}: {MASKED}"),
            };
        }
        line
    }

    /// A body that is JSON or a form and not longer than `max`; of others the length.
    pub(super) fn body(&self, content_type: Option<&HeaderValue>, body: &[u8], max: usize) -> String {
        let fields = if body.len() > max { None } else { Fields::read(content_type, body) };
        fields.map_or_else(|| format!("{} bytes", body.len()), |fields| self.fields(fields))
    }

    fn fields(&self, fields: Fields) -> String {
        match fields {
            Fields::Json(mut value) => {
                self.mask_json(&mut value, false);
                value.to_string()
            }
            Fields::Form(pairs) => self.form(&pairs),
        }
    }

    fn header(&self, name: &HeaderName, value: &HeaderValue, url: &Url, trust: &Trust) -> Option<String> {
        if self.names.mask_header(name, value, trust) || [LINK, REFRESH].contains(name) {
            return None;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_reference = [LOCATION, CONTENT_LOCATION].contains(name);
        Some(if is_reference { self.text(url.join(&text).ok()?.as_str()) } else { self.text(&text) })
    }

    fn mask_json(&self, value: &mut Value, is_named: bool) {
        match value {
            Value::Object(fields) => {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut value)| {
                        if self.names.mask_field(&name) {
                            value = MASKED.into();
                        } else {
                            self.mask_json(&mut value, true);
                        }
                        (self.text(&name), value)
                    })
                    .collect();
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item, is_named)),
            Value::String(_) | Value::Number(_) if !is_named => *value = MASKED.into(),
            Value::String(text) => *text = self.text(text),
            Value::Number(number) if self.secrets.are_in(&number.to_string()) => *value = MASKED.into(),
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn form(&self, pairs: &[(String, String)]) -> String {
        let mut masked = form_urlencoded::Serializer::new(String::new());
        for (name, value) in pairs {
            let value = if self.names.mask_field(name) { MASKED.to_owned() } else { self.text(value) };
            masked.append_pair(&self.text(name), &value);
        }
        masked.finish()
    }

    /// What its name does not tell to be secret: it may be all the same, and if it is a URL, it is shown
    /// without user-info and query.
    fn text(&self, text: &str) -> String {
        if self.secrets.are_in(text) {
            return MASKED.to_owned();
        }
        match Url::parse(text) {
            Ok(mut url) if url.has_host() => {
                // Cannot fail for a URL with a host.
                let _ = url.set_username("").and_then(|()| url.set_password(None));
                presentable(&url).to_owned()
            }
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
