use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use crate::server::authorization;

/// A call of the token endpoint, as the client sent it.
pub(super) struct TokenCall {
    fields: HashMap<String, String>,
    client: Option<(String, String)>,
    pub(super) by_header: bool,
}

impl TokenCall {
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::invalid_request("The body must be application/x-www-form-urlencoded."));
        }
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
            .map_err(|_| Refusal::invalid_request("The body cannot be read."))?;
        let mut fields = HashMap::new();
        for (name, value) in pairs {
            if fields.insert(name, value).is_some() {
                return Err(Refusal::invalid_request("A parameter came more than once."));
            }
        }
        let by_header = headers.contains_key(AUTHORIZATION);
        let client = if by_header {
            if fields.contains_key("client_secret") {
                return Err(Refusal::invalid_request("The client authenticates in two ways at once."));
            }
            authorization(headers, "Basic").and_then(basic)
        } else {
            fields.get("client_id").cloned().zip(fields.get("client_secret").cloned())
        };
        Ok(Self { fields, client, by_header })
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub(super) fn grant_type(&self) -> Option<&str> {
        self.field("grant_type")
    }

    pub(super) fn is_from(&self, id: &str, secret: &str) -> bool {
        self.client.as_ref().is_some_and(|client| client.0 == id && client.1 == secret)
    }
}

/// Identifier and secret from Basic. The client form-encodes each before it joins them (RFC 6749 2.3.1).
fn basic(credentials: &str) -> Option<(String, String)> {
    let credentials = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = credentials.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(value: &str) -> Option<String> {
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8().ok()?.into_owned())
}
