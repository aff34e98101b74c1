use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use forge_core::{AuthenticationError, AuthenticationErrorKind, FetchContext, Secret, SecretSource};
use forge_token::TokenEndpoint;
use http::HeaderName;
use http::header::COOKIE;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// The value of a header or of a field of a request. No output shows it.
///
/// These types convert into a value: a text, a [`Secret`], a [`SecretSource`] (the step reads it before each call), a
/// JSON value (lists and objects fit into JSON bodies only), and the option that
/// [`get_token_value`](forge_core::FetchContext::get_token_value) returns. If the option is `None`, the step fails, and
/// its error names the missing value. A header can be
/// `context.get_token("user_token").map(TokenData::authorization_header)`.
///
/// ```
/// use requestforge::pipeline::RequestValue;
/// use requestforge::SecretSource;
///
/// let values: [RequestValue; 2] = ["app-id".into(), SecretSource::env("APP_SECRET").into()];
/// # drop(values);
/// ```
#[derive(Clone)]
pub struct RequestValue(ValueSource);

#[derive(Clone)]
enum ValueSource {
    Text(SecretSource),
    Json(Value),
    Missing,
}

/// The value that a request contains, after the source of a secret was read.
pub(super) enum ResolvedValue {
    Text(Secret),
    Json(Value),
}

impl RequestValue {
    /// Whether only a JSON body can contain the value.
    pub(super) fn is_nested(&self) -> bool {
        matches!(self.0, ValueSource::Json(Value::Null | Value::Array(_) | Value::Object(_)))
    }

    /// Whether the value is an option without a value.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.0, ValueSource::Missing)
    }

    /// The text, if it is known without reading a source.
    pub(super) fn text(&self) -> Option<&Secret> {
        match &self.0 {
            ValueSource::Text(source) => source.value(),
            _ => None,
        }
    }

    /// Reads the value. `describe` names it in an error.
    pub(super) async fn read(
        &self,
        describe: impl Fn() -> String,
    ) -> Result<ResolvedValue, AuthenticationError> {
        match &self.0 {
            ValueSource::Text(source) => Ok(ResolvedValue::Text(source.read().await?)),
            ValueSource::Json(value) => Ok(ResolvedValue::Json(value.clone())),
            ValueSource::Missing => {
                let error = AuthenticationError::new("", AuthenticationErrorKind::Configuration);
                let field = describe();
                Err(error.with_message(format!(
                    "{field}: expected a value, found none; if it is the token of a step, name the step in `depends_on`"
                )))
            }
        }
    }
}

impl From<SecretSource> for RequestValue {
    fn from(source: SecretSource) -> Self {
        Self(ValueSource::Text(source))
    }
}

impl From<Secret> for RequestValue {
    fn from(secret: Secret) -> Self {
        SecretSource::from(secret).into()
    }
}

impl From<&str> for RequestValue {
    fn from(text: &str) -> Self {
        Secret::from(text).into()
    }
}

impl From<&String> for RequestValue {
    fn from(text: &String) -> Self {
        Secret::from(text.as_str()).into()
    }
}

impl From<String> for RequestValue {
    fn from(text: String) -> Self {
        Secret::from(text).into()
    }
}

impl From<Option<Secret>> for RequestValue {
    fn from(secret: Option<Secret>) -> Self {
        secret.map_or(Self(ValueSource::Missing), Self::from)
    }
}

impl From<Option<String>> for RequestValue {
    fn from(text: Option<String>) -> Self {
        text.map(Secret::from).into()
    }
}

impl From<Value> for RequestValue {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => text.into(),
            other => Self(ValueSource::Json(other)),
        }
    }
}

impl fmt::Debug for RequestValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestValue([redacted])")
    }
}

impl ResolvedValue {
    /// The value as a text. `None` if it is null, a list or an object.
    pub(super) fn into_text(self) -> Option<Secret> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(value @ (Value::Bool(_) | Value::Number(_))) => Some(value.to_string().into()),
            Self::Json(_) => None,
        }
    }
}

/// A form with these fields.
pub(super) fn encode_form(fields: Vec<(String, Zeroizing<String>)>) -> Zeroizing<Vec<u8>> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        form.append_pair(&name, &value);
    }
    Zeroizing::new(form.finish().into_bytes())
}

/// A JSON object with these fields. It is written field by field: a `Value` of the whole object would leave copies of
/// the secrets in memory.
pub(super) fn encode_json(fields: &[(String, ResolvedValue)]) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(512));
    body.push(b'{');
    let mut separator: &[u8] = b"";
    for (index, (name, value)) in fields.iter().enumerate() {
        // Of two fields with one name, the later one counts.
        if fields[index + 1..].iter().any(|(later, _)| later == name) {
            continue;
        }
        body.extend_from_slice(separator);
        separator = b",";
        append(&mut body, name);
        body.push(b':');
        match value {
            ResolvedValue::Text(text) => append(&mut body, text.expose()),
            ResolvedValue::Json(value) => append(&mut body, value),
        }
    }
    body.push(b'}');
    body
}

fn append(body: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Texts and JSON values have a JSON form, and writing to memory does not fail.
    let written = serde_json::to_writer(body, value);
    debug_assert!(written.is_ok());
}

/// All texts that one call sends. No error of the call may contain one of them.
pub(super) struct SentTexts(Vec<Zeroizing<String>>);

impl SentTexts {
    pub(super) fn new(endpoint: &TokenEndpoint, context: &FetchContext) -> Self {
        let mut sent = Self(Vec::new());
        for value in endpoint.possible_secrets() {
            sent.add_text(&value);
        }
        for (_, token) in context.tokens() {
            sent.add_text(token.access_token());
            sent.add_text(token.refresh_token().unwrap_or_default());
        }
        sent
    }

    pub(super) fn add_header(&mut self, name: &HeaderName, value: &Secret) {
        self.add_text(value.expose());
        if name == COOKIE {
            // Attack: a server may echo the value of a cookie without its name.
            let values = value.expose().split(';').filter_map(|pair| pair.split_once('='));
            values.for_each(|(_, value)| self.add_text(value.trim().trim_matches('"')));
        }
        // Attack: a server may echo the credentials without their scheme, and those of Basic in decoded form.
        let Some((_, credentials)) = value.expose().split_once(' ') else { return };
        self.add_text(credentials);
        if let Some(pair) = STANDARD.decode(credentials).ok().and_then(|pair| String::from_utf8(pair).ok()) {
            let pair = Zeroizing::new(pair);
            self.add_text(pair.split_once(':').map_or(&pair, |(_, password)| password));
        }
    }

    pub(super) fn add_value(&mut self, value: &ResolvedValue) {
        match value {
            ResolvedValue::Text(text) => self.add_text(text.expose()),
            ResolvedValue::Json(value) => self.add_json(value),
        }
    }

    fn add_json(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add_text(text),
            Value::Number(number) => self.add_text(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.add_json(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_json(field)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Adds the text itself and the forms that JSON gives it, with characters beyond ASCII as they are and escaped.
    fn add_text(&mut self, text: &str) {
        self.0.push(Zeroizing::new(text.to_owned()));
        let Ok(quoted) = serde_json::to_string(text) else { return };
        let quoted = Zeroizing::new(quoted);
        let escaped = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if escaped != text {
            self.0.push(Zeroizing::new(escaped.to_owned()));
        }
        if !escaped.is_ascii() {
            self.0.push(Zeroizing::new(escape_non_ascii(escaped)));
        }
    }

    pub(super) fn as_strs(&self) -> Vec<&str> {
        self.0.iter().map(|text| text.as_str()).collect()
    }
}

fn escape_non_ascii(text: &str) -> String {
    text.chars().fold(String::with_capacity(6 * text.len()), |mut ascii, c| {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
        ascii
    })
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_serde_writes_it_and_the_later_of_two_counts() {
        let text = |text: &str| ResolvedValue::Text(text.into());
        let fields = [
            ("a".to_owned(), text("1")),
            ("q\"uote".to_owned(), text("l\nine \"é\"")),
            ("a".to_owned(), ResolvedValue::Json(json!({"b": [1, null]}))),
        ];
        let written: Value = serde_json::from_slice(&super::encode_json(&fields)).unwrap();
        assert_eq!(written, json!({"q\"uote": "l\nine \"é\"", "a": {"b": [1, null]}}));
        assert_eq!(&*super::encode_json(&[]), b"{}");
    }

    #[test]
    fn inv16_all_that_goes_out_is_known() {
        let context = FetchContext::new()
            .with_token("a", forge_core::TokenData::new("token").with_refresh_token("refresh"));
        let mut sent = SentTexts::new(&TokenEndpoint::new("https://h/?key=query&v=2").unwrap(), &context);
        sent.add_header(&AUTHORIZATION, &"Basic aWQ6cGFzcw==".into());
        sent.add_header(&AUTHORIZATION, &"Bearer bare".into());
        sent.add_header(&COOKIE, &"a=cookie; b = \"quoted\"".into());
        sent.add_value(&ResolvedValue::Text("text".into()));
        sent.add_value(&ResolvedValue::Json(json!({"deep": ["leaf", 1234, null, true]})));
        for secret in [
            "query",
            "token",
            "refresh",
            "aWQ6cGFzcw==",
            "pass",
            "bare",
            "cookie",
            "quoted",
            "text",
            "leaf",
            "1234",
        ] {
            assert!(sent.as_strs().contains(&secret), "{secret}");
        }
        sent.add_value(&ResolvedValue::Text("\"a\\é😀".into()));
        for secret in ["\"a\\é😀", "\\\"a\\\\é😀", "\\\"a\\\\\\u00e9\\ud83d\\ude00"] {
            assert!(sent.as_strs().contains(&secret), "{secret}");
        }
    }

    #[test]
    fn inv16_debug_shows_no_value() {
        assert_eq!(format!("{:?}", RequestValue::from("canary")), "RequestValue([redacted])");
    }
}
