use std::collections::BTreeMap;

use http::HeaderValue;
use serde_json::Value;
use url::form_urlencoded;

/// A body in which values have names.
pub(super) enum Fields {
    Json(Value),
    Form(Vec<(String, String)>),
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

impl Fields {
    /// `None` if it is another kind of body, or not of the kind that it says.
    pub(super) fn read(content_type: Option<&HeaderValue>, body: &[u8]) -> Option<Self> {
        let content_type = content_type?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => {
                Some(Self::Form(form_urlencoded::parse(body).into_owned().collect()))
            }
            json if json.ends_with("/json") || json.ends_with("+json") => {
                serde_json::from_slice(body).ok().map(Self::Json)
            }
            _ => None,
        }
    }
}
