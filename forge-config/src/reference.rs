//! Secrets, by reference only.

use forge_core::{Secret, SecretSource};
use url::Url;

use crate::setting::{Setting, Shape};

/// Where a secret is.
#[derive(Clone)]
pub(crate) struct Reference(pub(crate) SecretSource);

impl Setting for Reference {
    const EXPECTED: &'static str =
        "a reference, { file = \"/path\" } or { env = \"NAME\" }, and never the secret itself";
    const BY_REFERENCE: bool = true;

    fn read(shape: Shape) -> Option<Self> {
        let Shape::Table(entries) = shape else { return None };
        let [(kind, Shape::Text(place))] = entries.as_slice() else { return None };
        let place = Some(place.expose()).filter(|place| !place.is_empty())?;
        match kind.as_str() {
            "file" => Some(Self(SecretSource::file(place))),
            "env" => Some(Self(SecretSource::env(place))),
            _ => None,
        }
    }
}

/// Names of secrets, each with a reference to the file or variable that holds it.
#[derive(Clone)]
pub(crate) struct References(pub(crate) Vec<(String, SecretSource)>);

impl Setting for References {
    const EXPECTED: &'static str =
        "a table of references, { name = { file = \"/path\" } } or { name = { env = \"NAME\" } }";
    const NEEDS_A_FILE: bool = true;

    fn read(shape: Shape) -> Option<Self> {
        let Shape::Table(entries) = shape else { return None };
        let reference = |(name, shape)| Some((name, Reference::read(shape)?.0));
        entries.into_iter().map(reference).collect::<Option<_>>().map(Self)
    }
}

/// An address that may hold a password: then by reference, too.
#[derive(Clone)]
#[cfg_attr(
    not(feature = "storage-redis"),
    expect(dead_code, reason = "known, so that it is refused by name")
)]
pub(crate) struct Address(pub(crate) SecretSource);

impl Setting for Address {
    const EXPECTED: &'static str = "an address without a password, or a reference to one, { file = \"/path\" } or \
                                    { env = \"NAME\" }; `redis_password` may be a reference, too";
    const BY_REFERENCE: bool = true;

    fn read(shape: Shape) -> Option<Self> {
        match shape {
            Shape::Text(address) if !may_hold_a_password(&address) => Some(Self(address.into())),
            Shape::Text(_) => None,
            shape => Reference::read(shape).map(|reference| Self(reference.0)),
        }
    }
}

fn may_hold_a_password(address: &Secret) -> bool {
    // Sockets have it in the query.
    Url::parse(address.expose()).map_or(true, |url| url.password().is_some() || url.query().is_some())
}
