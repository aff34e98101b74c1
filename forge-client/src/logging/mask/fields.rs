use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::Value;
use url::form_urlencoded;

use crate::body::{self, Part};

/// A body in which values have names.
pub(super) enum Fields {
    Json(Value),
    Form(Vec<Pair>),
    Multipart(Vec<Pair>),
}

/// A field of a form, or a parameter of a query.
pub(super) struct Pair {
    pub(super) name: String,
    /// `None`: there is no name, and `name` holds the value, as in `?AKIA…`.
    pub(super) value: Option<String>,
}

/// The kind of a body in which values have names.
pub(super) enum BodyKind {
    Json,
    Form,
    Multipart { boundary: String },
}

/// The object or the list of which a text is the JSON.
pub(super) fn json_in(text: &str) -> Option<Value> {
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok())?
}

/// The numbers of an array, or of an object that JavaScript made of one: `{"0":115,"1":51}`.
pub(super) fn byte_list(value: &Value) -> Option<String> {
    let numbers: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => {
            let numbered = fields.iter().map(|(name, value)| Some((name.parse::<usize>().ok()?, value)));
            numbered.collect::<Option<BTreeMap<_, _>>>()?.into_values().collect()
        }
        _ => return None,
    };
    let texts: Option<Vec<String>> =
        numbers.iter().map(|number| number.is_number().then(|| number.to_string())).collect();
    texts.map(|texts| texts.join(","))
}

/// The fields of a form, or the parameters of a query.
pub(super) fn pairs(form: &[u8]) -> Vec<Pair> {
    form.split(|byte| *byte == b'&').filter(|piece| !piece.is_empty()).map(pair).collect()
}

fn pair(piece: &[u8]) -> Pair {
    let decoded = form_urlencoded::parse(piece).into_owned().next();
    let (name, value) = decoded.unwrap_or_default();
    let is_named = piece.contains(&b'=') && !is_padded_base64(piece);
    if is_named { Pair { name, value: Some(value) } } else { Pair { name: name + &value, value: None } }
}

/// Whether a piece ends with the padding of base64 (RFC 4648 4), has no other `=`, and is as long as a key.
fn is_padded_base64(piece: &[u8]) -> bool {
    let text = piece.trim_ascii_end().strip_suffix(b"=").map(|text| text.strip_suffix(b"=").unwrap_or(text));
    text.is_some_and(|text| text.len() >= MIN_KEY_LEN && !text.contains(&b'='))
        && piece.len().is_multiple_of(4)
}

/// The minimum length of text that counts as base64 rather than as the name of an empty parameter, such as
/// `access_token=`. Most such names are shorter; few of the longer ones have a length that base64 can have.
const MIN_KEY_LEN: usize = 16;

impl Pair {
    pub(super) fn of(part: &Part<'_>) -> Self {
        let value = String::from_utf8_lossy(part.value).into_owned();
        match part.name() {
            Some(name) => Self { name, value: Some(value) },
            None => Self { name: value, value: None },
        }
    }
}

impl BodyKind {
    /// The kind that a `Content-Type` names; `None` for a body whose values have no names.
    pub(super) fn of(content_type: Option<&HeaderValue>) -> Option<Self> {
        let content_type = content_type?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Some(Self::Form),
            json if json.ends_with("/json") || json.ends_with("+json") => Some(Self::Json),
            form if form.starts_with("multipart/") => {
                // Without a boundary `read` returns `None`.
                let boundary = body::parameter(content_type, "boundary").unwrap_or_default();
                Some(Self::Multipart { boundary })
            }
            _ => None,
        }
    }

    /// The fields of a body; `None` if it is not of this kind.
    pub(super) fn read(&self, body: &[u8]) -> Option<Fields> {
        match self {
            Self::Json => serde_json::from_slice(body).ok().map(Fields::Json),
            Self::Form => Some(Fields::Form(pairs(body))),
            Self::Multipart { boundary } => {
                let parts = body::multipart_parts(body, boundary)?;
                Some(Fields::Multipart(parts.iter().map(Pair::of).collect()))
            }
        }
    }
}
