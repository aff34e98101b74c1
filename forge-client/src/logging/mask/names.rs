use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::credential_names::may_name_a_credential;
use crate::hop::Trust;

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
        may_name_a_credential(name) || self.0.contains(&normalized(name))
    }
}

/// A name as it is compared: `accessToken` is `access_token` is `Access-Token`.
pub(in crate::logging) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}
