use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LOCATION, LINK, LOCATION, REFRESH};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::hop::{Trust, may_name_a_credential};
use crate::target::presentable;

/// What takes the place of a secret.
const MASKED: &str = "***";

/// Knows secrets by their names, and those of one request by their values.
pub(super) struct Mask {
    keys: Arc<[String]>,
    secrets: Vec<Zeroizing<String>>,
}

impl Mask {
    /// With these names, [normalized], besides those that are known.
    pub(super) fn new(keys: Arc<[String]>) -> Self {
        Self { keys, secrets: Vec::new() }
    }

    /// Remembers the secrets in a request's headers, so that they are masked wherever a server echoes them.
    pub(super) fn learn(&mut self, headers: &HeaderMap, trust: &Trust) {
        for (name, value) in headers {
            if !self.masks_header(name, value, trust) {
                continue;
            }
            let Ok(value) = value.to_str() else { continue };
            self.add(value);
            let Some((scheme, credentials)) = value.split_once(' ') else { continue };
            self.add(credentials);
            if scheme.eq_ignore_ascii_case("basic")
                && let Some(password) = password(credentials)
            {
                self.add(&password);
            }
        }
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
        let shown = if body.len() > max {
            None
        } else {
            match kind(content_type) {
                Some(Kind::Json) => self.json(body),
                Some(Kind::Form) => Some(self.form(body)),
                None => None,
            }
        };
        shown.unwrap_or_else(|| format!("{} bytes", body.len()))
    }

    fn header(&self, name: &HeaderName, value: &HeaderValue, url: &Url, trust: &Trust) -> Option<String> {
        if self.masks_header(name, value, trust) || [LINK, REFRESH].contains(name) {
            return None;
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_reference = [LOCATION, CONTENT_LOCATION].contains(name);
        Some(if is_reference { self.text(url.join(&text).ok()?.as_str()) } else { self.text(&text) })
    }

    fn masks_header(&self, name: &HeaderName, value: &HeaderValue, trust: &Trust) -> bool {
        trust.is_sensitive(name, value) || self.keys.contains(&normalized(name.as_str()))
    }

    fn json(&self, body: &[u8]) -> Option<String> {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        self.mask_json(&mut value, false);
        Some(value.to_string())
    }

    fn mask_json(&self, value: &mut Value, is_named: bool) {
        match value {
            Value::Object(fields) => {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut value)| {
                        if self.masks_field(&name) {
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
            Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    fn form(&self, body: &[u8]) -> String {
        let mut masked = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(body) {
            let value = if self.masks_field(&name) { MASKED.to_owned() } else { self.text(&value) };
            masked.append_pair(&self.text(&name), &value);
        }
        masked.finish()
    }

    fn masks_field(&self, name: &str) -> bool {
        let name = normalized(name);
        may_name_a_credential(&name)
            || FIELD_PARTS.iter().any(|part| name.contains(part))
            || FIELDS.contains(&name.as_str())
            || self.keys.contains(&name)
    }

    /// What its name does not tell to be secret: it may be all the same, and if it is a URL, it is shown
    /// without user-info and query.
    fn text(&self, text: &str) -> String {
        if self.secrets.iter().any(|secret| text.contains(secret.as_str())) {
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

    /// What is shorter is in every other text.
    fn add(&mut self, secret: &str) {
        if secret.len() >= 4 {
            self.secrets.push(Zeroizing::new(secret.to_owned()));
        }
    }
}

/// What a `Basic` credential (RFC 7617 2) hides.
fn password(credentials: &str) -> Option<Zeroizing<String>> {
    let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

/// Besides those that headers have, what the names of secret fields have in common.
const FIELD_PARTS: &[&str] =
    &["assertion", "bearer", "cvc", "cvv", "nonce", "otp", "pwd", "ticket", "verifier"];
/// And what they are if they are no part of a longer one: `code` is an authorization code (RFC 6749 4.1.3).
const FIELDS: &[&str] = &["code", "devicecode", "pass", "pin", "sid", "usercode"];

/// A name as it is compared: `accessToken` is `access_token` is `Access-Token`.
pub(super) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

enum Kind {
    Json,
    Form,
}

fn kind(content_type: Option<&HeaderValue>) -> Option<Kind> {
    let text = content_type?.to_str().ok()?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" | "text/json" => Some(Kind::Json),
        "application/x-www-form-urlencoded" => Some(Kind::Form),
        other => other.ends_with("+json").then_some(Kind::Json),
    }
}

#[cfg(test)]
mod tests;
