use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{SecretFinder, challenges};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::fields::{Fields, json_in};
use super::names::Names;

/// Values that are secret wherever they are, and in whatever form.
#[derive(Default)]
pub(super) struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    /// Searches for each of them once, in as many texts as there are.
    pub(super) fn into_finder(mut self) -> SecretFinder {
        self.0.sort_unstable_by(|one, other| one.as_str().cmp(other));
        self.0.dedup();
        SecretFinder::new(&self.0)
    }

    /// Values of headers, with their scheme and without, and what they consist of.
    pub(super) fn learn_headers(
        &mut self,
        headers: &HeaderMap,
        is_secret: impl Fn(&HeaderName, &HeaderValue) -> bool,
    ) {
        for (_, value) in headers.iter().filter(|(name, value)| is_secret(name, value)) {
            let Ok(value) = value.to_str() else { continue };
            self.add(value);
            self.learn_parameters(value);
            let Some((scheme, credentials)) = value.split_once(' ') else { continue };
            self.add(credentials);
            if scheme.eq_ignore_ascii_case("basic")
                && let Some(password) = password(credentials)
            {
                self.add(&password);
            }
        }
    }

    /// The cookies of a header (RFC 6265 4.2.1), or the parameters of a credential (RFC 9110 11.4), as the
    /// grammar has them, and as those write them who do not keep to it.
    fn learn_parameters(&mut self, value: &str) {
        for parameter in value.split(';').chain(value.split([';', ','])) {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            self.learn_parameter(name.rsplit(' ').next().unwrap_or_default(), value.trim().trim_matches('"'));
        }
        for (name, value) in challenges(value).iter().flat_map(|challenge| &challenge.parameters) {
            self.learn_parameter(name, value);
        }
    }

    fn learn_parameter(&mut self, name: &str, value: &str) {
        if !PUBLIC.iter().any(|public| name.eq_ignore_ascii_case(public)) {
            self.add(value);
            let decoded = percent_decode_str(value).decode_utf8_lossy();
            if decoded != value {
                self.add(&decoded);
            }
        }
    }

    /// Values of parameters.
    pub(super) fn learn_query(&mut self, query: &str, names: &Names) {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        self.learn_pairs(&pairs, names);
    }

    /// Values of fields, and all that is in them.
    pub(super) fn learn_fields(&mut self, fields: &Fields, names: &Names) {
        match fields {
            Fields::Json(value) => self.learn_json(value, Within::Nothing, names),
            Fields::Form(pairs) => self.learn_pairs(pairs, names),
        }
    }

    fn learn_pairs(&mut self, pairs: &[(String, String)], names: &Names) {
        let siblings = names.of_pairs(pairs.iter().map(|(name, _)| name.as_str()));
        for (name, value) in pairs {
            if siblings.hold_secret(name) {
                self.add(value);
            }
            if let Some(json) = json_in(value) {
                self.learn_json(&json, Within::Text, names);
            }
        }
    }

    fn learn_json(&mut self, value: &Value, within: Within, names: &Names) {
        match value {
            Value::Object(fields) => {
                let siblings = names.of_object(fields);
                for (name, value) in fields {
                    let is_secret = siblings.hold_secret(name);
                    self.learn_json(value, if is_secret { Within::Secret } else { within }, names);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.learn_json(item, within, names);
                }
            }
            Value::String(text) if within == Within::Secret => self.add(text),
            Value::Number(number) if within == Within::Secret => self.add(&number.to_string()),
            Value::String(text) if within == Within::Nothing => {
                if let Some(json) = json_in(text) {
                    self.learn_json(&json, Within::Text, names);
                }
            }
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

/// Where a piece of JSON is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Nothing,
    /// JSON within JSON, in which no more of it is looked for.
    Text,
    Secret,
}

/// Parameters that are no secret even in a credential, and that the rest of a log is full of (RFC 7616 3.4).
const PUBLIC: [&str; 3] = ["algorithm", "realm", "uri"];

/// What a `Basic` credential (RFC 7617 2) hides.
fn password(credentials: &str) -> Option<Zeroizing<String>> {
    let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}
