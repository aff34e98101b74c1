use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::hop::{Trust, may_name_a_credential};

/// Which names say that a value is secret.
pub(super) struct Names(Arc<[String]>);

impl Names {
    /// With these, [normalized], besides those that are known.
    pub(super) fn new(keys: Arc<[String]>) -> Self {
        Self(keys)
    }

    /// Those that the client would not take to another origin.
    pub(super) fn mask_header(&self, name: &HeaderName, value: &HeaderValue, trust: &Trust) -> bool {
        trust.is_sensitive(name, value) || self.0.contains(&normalized(name.as_str()))
    }

    /// The fields of bodies, and the parameters of a query.
    pub(super) fn mask_field(&self, name: &str) -> bool {
        let name = normalized(name);
        may_name_a_credential(&name)
            || FIELD_PARTS.iter().any(|part| name.contains(part))
            || FIELDS.contains(&name.as_str())
            || self.0.contains(&name)
    }
}

/// Besides those that headers have, what the names of secret fields have in common.
const FIELD_PARTS: &[&str] =
    &["assertion", "bearer", "cvc", "cvv", "nonce", "otp", "pwd", "ticket", "verifier"];
/// And what they are if they are no part of a longer one: `code` is an authorization code (RFC 6749 4.1.3).
const FIELDS: &[&str] = &["code", "devicecode", "pass", "pin", "sid", "sig", "usercode"];

/// A name as it is compared: `accessToken` is `access_token` is `Access-Token`.
pub(in crate::logging) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}
