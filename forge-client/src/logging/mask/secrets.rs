use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{SecretFinder, challenges};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;
use zeroize::Zeroizing;

use super::content::RequestContent;
use super::fields::{BodyKind, Fields, Pair, json_in, pairs};
use super::names::SensitiveNames;
use super::{MASKED, MAX_SEARCHED};
use crate::body::BodyContent;
use crate::origin::{Trust, origin_text};

/// The secrets of one or several requests, by their values.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    values: Vec<Zeroizing<String>>,
    /// Whether there may be others, in a body that [`learn_body`](Self::learn_body) could not read.
    are_incomplete: bool,
}

impl Secrets {
    /// Whether there may be secrets that are not among these.
    pub(super) fn are_incomplete(&self) -> bool {
        self.are_incomplete
    }

    /// Searches for each of them once, in as many texts as there are.
    pub(super) fn into_finder(mut self) -> SecretFinder {
        self.values.sort_unstable_by(|one, other| one.as_str().cmp(other));
        self.values.dedup();
        SecretFinder::new(&self.values)
    }

    /// Adds the values that the log masks in a request.
    pub(super) fn learn(&mut self, content: &RequestContent<'_>, names: &SensitiveNames, trust: &Trust) {
        self.learn_headers(content.headers, |name, value| names.is_secret_header(name, value, trust));
        if let Some(query) = content.url.query() {
            self.learn_pairs(&pairs(query.as_bytes()), names);
        }
        match content.body {
            BodyContent::Bytes([]) => {}
            BodyContent::Bytes(body) => self.learn_body(content.headers.get(CONTENT_TYPE), body, names),
            BodyContent::Stream => self.are_incomplete = true,
        }
    }

    /// How to show the `target` of a redirect; `None`: as any URL. If its path repeats one of these secrets, the
    /// whole path is masked. If it has another origin that repeats one, everything is masked.
    pub(super) fn masked_redirect(&self, from: &Url, target: &Url) -> Option<String> {
        let (origin_of_target, path) = (origin_text(target), target.path());
        // `Url` writes a host in lower case, and the backslashes of a path as slashes.
        let is_in_host = || self.is_in(origin_of_target, str::to_ascii_lowercase);
        if origin_text(from) != origin_of_target && is_in_host() {
            return Some(MASKED.to_owned());
        }
        let is_masked = path.len() > MAX_SEARCHED
            || self.is_in(path, str::to_owned)
            || self.is_in(path, |secret| secret.replace('\\', "/"));
        is_masked.then(|| format!("{origin_of_target}/{MASKED}"))
    }

    /// Whether a text repeats one of these secrets as `rewrite` changes it.
    fn is_in(&self, text: &str, rewrite: impl Fn(&str) -> String) -> bool {
        let values = self.values.iter().map(|value| Zeroizing::new(rewrite(value))).collect();
        Self { values, are_incomplete: self.are_incomplete }.into_finder().is_in(text)
    }

    /// Adds the secrets of a body. In JSON and forms the names of values tell which are secret; any other body
    /// counts as one secret.
    fn learn_body(&mut self, content_type: Option<&HeaderValue>, body: &[u8], names: &SensitiveNames) {
        let Some(kind) = BodyKind::of(content_type) else {
            self.learn_unnamed(&beginning(body), names);
            return;
        };
        let is_short = body.len() <= MAX_SEARCHED;
        match is_short.then(|| kind.read(body)).flatten() {
            Some(Fields::Json(value)) => self.learn_json(&value, JsonPosition::Unnamed, names),
            Some(Fields::Form(pairs) | Fields::Multipart(pairs)) => self.learn_pairs(&pairs, names),
            None => self.are_incomplete = true,
        }
    }

    /// Adds a value that has no name, and all values in it if it is JSON.
    fn learn_unnamed(&mut self, value: &str, names: &SensitiveNames) {
        self.add(value.trim());
        if let Some(json) = json_in(value) {
            self.learn_json(&json, JsonPosition::Secret, names);
        }
    }

    /// Values of headers, with their scheme and without, and what they consist of.
    fn learn_headers(&mut self, headers: &HeaderMap, is_secret: impl Fn(&HeaderName, &HeaderValue) -> bool) {
        for (_, value) in headers.iter().filter(|(name, value)| is_secret(name, value)) {
            let value = &*String::from_utf8_lossy(value.as_bytes());
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

    /// The cookies of a header (RFC 6265 4.2.1), or the parameters of a credential (RFC 9110 11.4), in the
    /// form of the grammar and in the forms that careless senders use.
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

    fn learn_pairs(&mut self, pairs: &[Pair], names: &SensitiveNames) {
        let siblings = names.of_pairs(pairs);
        for Pair { name, value } in pairs {
            let Some(value) = value else {
                self.learn_unnamed(name, names);
                continue;
            };
            if siblings.is_secret(name) {
                self.add(value);
            }
            if let Some(json) = json_in(value) {
                self.learn_json(&json, JsonPosition::Text, names);
            }
        }
    }

    fn learn_json(&mut self, value: &Value, position: JsonPosition, names: &SensitiveNames) {
        match value {
            Value::Object(fields) => {
                let siblings = names.of_object(fields);
                for (name, value) in fields {
                    let is_secret = siblings.is_secret(name);
                    self.learn_json(
                        value,
                        if is_secret { JsonPosition::Secret } else { position.named() },
                        names,
                    );
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.learn_json(item, position, names);
                }
            }
            Value::String(text) if position == JsonPosition::Secret => self.add(text),
            Value::Number(number) if matches!(position, JsonPosition::Secret | JsonPosition::Unnamed) => {
                self.add(&number.to_string());
            }
            Value::String(text) if position == JsonPosition::Unnamed => self.learn_unnamed(text, names),
            Value::String(text) if position == JsonPosition::Named => {
                if let Some(json) = json_in(text) {
                    self.learn_json(&json, JsonPosition::Text, names);
                }
            }
            Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {}
        }
    }

    /// Adds a secret. Shorter values than this would be found in many harmless texts.
    fn add(&mut self, secret: &str) {
        if secret.len() >= 6 {
            self.values.push(Zeroizing::new(secret.to_owned()));
        }
    }
}

/// The position of a piece of JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonPosition {
    /// Outside of any object, so the value has no name.
    Unnamed,
    Named,
    /// JSON within JSON, in which no more of it is looked for.
    Text,
    Secret,
}

impl JsonPosition {
    fn named(self) -> Self {
        if self == Self::Unnamed { Self::Named } else { self }
    }
}

/// The beginning of a body that counts as one secret. It is longer than what a [`SecretFinder`] compares, so that
/// the finder knows that the secret goes on.
fn beginning(body: &[u8]) -> Cow<'_, str> {
    let start = body.get(..MAX_UNNAMED).unwrap_or(body);
    match str::from_utf8(start) {
        Ok(text) => text.into(),
        // The cut may be within a character.
        Err(error) => String::from_utf8_lossy(&start[..error.valid_up_to()]),
    }
}

/// The maximum length in bytes of the beginning that is kept of such a body. `SecretFinder` compares fewer.
const MAX_UNNAMED: usize = 1_024;

/// Parameters that are no secret even in a credential, and that the rest of a log is full of (RFC 7616 3.4).
const PUBLIC: [&str; 3] = ["algorithm", "realm", "uri"];

/// The password in a `Basic` credential (RFC 7617 2).
fn password(credentials: &str) -> Option<Zeroizing<String>> {
    let pair = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let (_, password) = str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}
