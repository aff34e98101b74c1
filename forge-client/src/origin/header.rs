//! Headers as callers and hooks give them.

use forge_core::{ConfigError, check_header_name};
use http::{HeaderName, HeaderValue};

/// A header that the caller may set.
pub(crate) fn header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), ConfigError>
where
    N: TryInto<HeaderName>,
    V: TryInto<HeaderValue>,
{
    const FIELD: &str = "header";
    let name = name.try_into().map_err(|_| ConfigError::new(FIELD, "a name that fits into a header"))?;
    check_header_name(FIELD, &name)?;
    let value = value.try_into().map_err(|_| ConfigError::new(FIELD, "a value that fits into a header"))?;
    Ok((name, value))
}
