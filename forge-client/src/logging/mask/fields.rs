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
