use std::sync::Arc;

use forge_core::looks_like_credential_name;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::fields::Pair;
use crate::origin::Trust;

/// The names whose values are secret.
pub(super) struct SensitiveNames(Arc<[String]>);

impl SensitiveNames {
    /// The built-in names, and these [normalized] ones.
    pub(super) fn new(keys: Arc<[String]>) -> Self {
        Self(keys)
    }

    /// Whether the value of a header is masked: unless the header is known to carry no credential.
    pub(super) fn is_secret_header(&self, name: &HeaderName, value: &HeaderValue, trust: &Trust) -> bool {
        !trust.is_shown(name, value) || self.0.contains(&normalized(name.as_str()))
    }

    /// The fields of a JSON object.
    pub(super) fn of_object(&self, fields: &Map<String, Value>) -> Siblings<'_> {
        let tells_a_name = |name: &str| ["field", "key", "name"].contains(&normalized(name).as_str());
        let name_a_secret = fields.iter().any(|(name, value)| {
            tells_a_name(name) && value.as_str().is_some_and(|value| self.is_secret_field(value))
        });
        let are_of_oauth = fields.keys().any(|name| is_of_oauth(name));
        Siblings { names: self, are_of_oauth, name_a_secret }
    }

    /// The fields of a form, or the parameters of a query.
    pub(super) fn of_pairs(&self, pairs: &[Pair]) -> Siblings<'_> {
        let are_of_oauth = pairs.iter().any(|pair| is_of_oauth(&pair.name));
        Siblings { names: self, are_of_oauth, name_a_secret: false }
    }

    fn is_secret_field(&self, name: &str) -> bool {
        looks_like_credential_name(name) || self.0.contains(&normalized(name))
    }
}

/// The fields of one object or form. Their names, and sometimes their neighbours, tell which of them are secret.
pub(super) struct Siblings<'a> {
    names: &'a SensitiveNames,
    /// Whether these are parameters of OAuth, among which `state` is a secret (RFC 6749 10.12).
    are_of_oauth: bool,
    /// Whether one field says that the field `value` is secret: `{"name":"password","value":"…"}`.
    name_a_secret: bool,
}

impl Siblings<'_> {
    pub(super) fn is_secret(&self, name: &str) -> bool {
        let bare = normalized(name);
        self.names.is_secret_field(name)
            || self.are_of_oauth && bare == "state"
            || self.name_a_secret && matches!(bare.as_str(), "value" | "values")
    }
}

/// Beside one of these, `state` is not the state of an order, or of the USA (RFC 6749 4.1, 4.2).
fn is_of_oauth(name: &str) -> bool {
    ["accesstoken", "clientid", "code", "idtoken", "redirecturi", "responsetype"]
        .contains(&normalized(name).as_str())
}

/// A name as it is compared: `accessToken` is `access_token` is `Access-Token`.
pub(in crate::logging) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}
