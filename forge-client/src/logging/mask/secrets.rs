use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::echoes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::fields::Fields;

/// Values that are secret wherever they are, and in whatever form.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    pub(super) fn are_in(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let secrets: Vec<&str> = self.0.iter().map(|secret| secret.as_str()).collect();
        echoes(text, &secrets)
    }

    /// Values of headers, with their scheme and without.
    pub(super) fn learn_headers(
        &mut self,
        headers: &HeaderMap,
        is_secret: impl Fn(&HeaderName, &HeaderValue) -> bool,
    ) {
        for (_, value) in headers.iter().filter(|(name, value)| is_secret(name, value)) {
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

    /// Values of parameters.
    pub(super) fn learn_query(&mut self, query: &str, is_secret: impl Fn(&str) -> bool) {
        for (_, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| is_secret(name)) {
            self.add(&value);
        }
    }

    /// Values of fields, and all that is in them.
    pub(super) fn learn_fields(&mut self, fields: &Fields, is_secret: impl Fn(&str) -> bool) {
        match fields {
            Fields::Json(value) => self.learn_json(value, false, &is_secret),
            Fields::Form(pairs) => {
                for (_, value) in pairs.iter().filter(|(name, _)| is_secret(name)) {
                    self.add(value);
                }
            }
        }
    }

    fn learn_json(&mut self, value: &Value, is_in_secret: bool, is_secret: &impl Fn(&str) -> bool) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.learn_json(value, is_in_secret || is_secret(name), is_secret);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.learn_json(item, is_in_secret, is_secret);
                }
            }
            Value::String(text) if is_in_secret => self.add(text),
            Value::Number(number) if is_in_secret => self.add(&number.to_string()),
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    /// What is shorter is in every other text.
    fn add(&mut self, secret: &str) {
        if secret.len() >= 6 {
            self.0.push(Zeroizing::new(secret.to_owned()));
        }
    }
}

/// What a `Basic` credential (RFC 7617 2) hides.
fn password(credentials: &str) -> Option<Zeroizing<String>> {
    let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}
