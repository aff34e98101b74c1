//! Headers as callers and hooks give them.

use forge_core::ConfigError;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};

/// A header that may be set.
pub(crate) fn header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), ConfigError>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    const FIELD: &str = "header";
    let name = name.try_into().map_err(|_| ConfigError::new(FIELD, "a name that fits into a header"))?;
    check_name(FIELD, &name)?;
    let value = value.try_into().map_err(|_| ConfigError::new(FIELD, "a value that fits into a header"))?;
    Ok((name, value))
}

/// Refuses headers that say where a request ends: that follows from its body. A second opinion makes two
/// requests of one (RFC 9112 11.2).
pub(crate) fn check_name(field: &'static str, name: &HeaderName) -> Result<(), ConfigError> {
    if is_framing(name) {
        let expected = format!("another header than `{name}`, which follows from the body");
        return Err(ConfigError::new(field, expected));
    }
    Ok(())
}

pub(crate) fn is_framing(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}
