use std::fmt::Write as _;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::server::authorization;

/// A call of a step, as the client sent it.
pub(super) struct Call<'a> {
    head: &'a Parts,
    body: &'a [u8],
    /// The fields of the call, and whether they came as a form.
    fields: Option<(Value, bool)>,
}

impl<'a> Call<'a> {
    pub(super) fn read(head: &'a Parts, body: &'a [u8]) -> Self {
        Self { head, body, fields: fields(head, body) }
    }

    /// Whether the server can read the fields, or the call has none.
    pub(super) fn is_readable(&self) -> bool {
        self.fields.is_some() || self.body.is_empty()
    }

    pub(super) fn is_form(&self) -> bool {
        self.fields.as_ref().is_some_and(|(_, is_form)| *is_form)
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let (fields, _) = self.fields.as_ref()?;
        fields.get(name).or_else(|| fields.get("credentials")?.get(name))?.as_str()
    }

    /// Whether these two fields contain the known credentials.
    pub(super) fn is_from(&self, fields: [&str; 2], known: &(String, String)) -> bool {
        fields.map(|name| self.field(name)) == [&known.0, &known.1].map(|known| Some(known.as_str()))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head.headers, name)
    }

    pub(super) fn bearer(&self) -> Option<&str> {
        authorization(&self.head.headers, "Bearer")
    }

    /// The whole call.
    pub(super) fn echo(&self) -> String {
        let mut echo = format!("{} {}\n", self.head.method, self.head.uri);
        for (name, value) in &self.head.headers {
            let _ = writeln!(echo, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        echo + &String::from_utf8_lossy(self.body)
    }
}

pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn fields(head: &Parts, body: &[u8]) -> Option<(Value, bool)> {
    if head.method == Method::GET {
        let query = head.uri.query().unwrap_or_default();
        return Some((form(query.as_bytes())?, false));
    }
    let media_type = header(&head.headers, CONTENT_TYPE.as_str())?.split(';').next()?.trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => Some((form(body)?, true)),
        "application/json" => Some((serde_json::from_slice(body).ok()?, false)),
        _ => None,
    }
}

/// Returns `None` if the fields are not readable, or if one of them occurs twice.
fn form(encoded: &[u8]) -> Option<Value> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(encoded).ok()?;
    let mut fields = Map::new();
    for (name, value) in pairs {
        if fields.insert(name, value.into()).is_some() {
            return None;
        }
    }
    Some(fields.into())
}
