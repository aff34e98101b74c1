//! Settings that hold a secret. They hold it by reference only.

use forge_core::{Secret, SecretSource};
use url::Url;

use crate::setting::{RawValue, Setting};

/// A reference to the file or variable that contains a secret.
#[derive(Clone)]
pub(crate) struct SecretReference(pub(crate) SecretSource);

impl Setting for SecretReference {
    const EXPECTED: &'static str =
        "a reference, { file = \"/path\" } or { env = \"NAME\" }, not the secret itself";
    const IS_REFERENCE: bool = true;

    fn read(value: RawValue) -> Option<Self> {
        let RawValue::Table(entries) = value else { return None };
        let [(kind, RawValue::Text(place))] = entries.as_slice() else { return None };
        let place = Some(place.expose()).filter(|place| !place.is_empty())?;
        match kind.as_str() {
            "file" => Some(Self(SecretSource::file(place))),
            "env" => Some(Self(SecretSource::env(place))),
            _ => None,
        }
    }
}

/// Names of secrets, each with a reference to the file or variable that contains it.
#[derive(Clone)]
pub(crate) struct SecretReferences(pub(crate) Vec<(String, SecretSource)>);

impl Setting for SecretReferences {
    const EXPECTED: &'static str =
        "a table of references, { name = { file = \"/path\" } } or { name = { env = \"NAME\" } }";
    const IS_FILE_ONLY: bool = true;

    fn read(value: RawValue) -> Option<Self> {
        let RawValue::Table(entries) = value else { return None };
        let reference = |(name, value)| Some((name, SecretReference::read(value)?.0));
        entries.into_iter().map(reference).collect::<Option<_>>().map(Self)
    }
}

/// The address of a Redis. With a password in it, it is a secret and needs a reference.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "storage-redis"),
    expect(dead_code, reason = "known, so that it is refused by name")
)]
pub(crate) struct RedisAddress(pub(crate) SecretSource);

impl Setting for RedisAddress {
    const EXPECTED: &'static str = "an address without a password, or a reference to an address, \
                                    { file = \"/path\" } or { env = \"NAME\" }; the password also fits into \
                                    `redis_password`, by reference";
    const IS_REFERENCE: bool = true;

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::Text(address) if !may_contain_password(&address) => Some(Self(address.into())),
            RawValue::Text(_) => None,
            value => SecretReference::read(value).map(|reference| Self(reference.0)),
        }
    }
}

fn may_contain_password(address: &Secret) -> bool {
    // The URL of a socket has its password in the query. A text that is no URL could be anything.
    Url::parse(address.expose()).map_or(true, |url| url.password().is_some() || url.query().is_some())
}
