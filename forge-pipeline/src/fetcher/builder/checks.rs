//! Checks of the settings that every step has.

use forge_core::{ConfigError, Secret, check_header_name};
use forge_token::TokenEndpoint;
use http::HeaderName;

use crate::fetcher::{ContentType, ONLY_JSON_NESTS, RequestFields, RequestValue};

/// The URL of the call. It is always below the base URL, even if `endpoint` looks like a URL itself.
pub(super) fn endpoint(
    base_url: &str,
    endpoint: &str,
    plain_http: bool,
) -> Result<TokenEndpoint, ConfigError> {
    let check = if plain_http { TokenEndpoint::accepting_plain_http } else { TokenEndpoint::new };
    let base = base_url.trim_end_matches('/');
    check(base).map_err(|error| error.with_field("base_url"))?;
    if base.contains('?') {
        return Err(ConfigError::new("base_url", "a URL without a query"));
    }
    let path = endpoint.trim_start_matches('/');
    let url = if path.is_empty() { base.to_owned() } else { format!("{base}/{path}") };
    check(&url).map_err(|error| error.with_field("endpoint"))
}

pub(super) fn checked_headers(
    headers: RequestFields<String>,
) -> Result<RequestFields<HeaderName>, ConfigError> {
    let invalid = |expected: String| ConfigError::new("request_headers", expected);
    let check = |(name, value): (String, RequestValue)| {
        let name = HeaderName::try_from(name)
            .map_err(|error| invalid("valid names of headers".to_owned()).with_source(error))?;
        check_header_name("request_headers", &name)?;
        if value.is_missing() || value.is_nested() {
            return Err(invalid(format!("a text or a number for `{name}`")));
        }
        if let Some(text) = value.text().cloned().map(Secret::into_header_value)
            && let Err(error) = text
        {
            return Err(invalid(format!("a value that fits into the header `{name}`")).with_source(error));
        }
        Ok((name, value))
    };
    let fixed = headers.fixed.into_iter().map(check).collect::<Result<_, _>>()?;
    Ok(RequestFields { fixed, dynamic: headers.dynamic })
}

/// Refuses values that are missing, or that only a JSON body can contain.
pub(super) fn check_data(data: &RequestFields<String>, content_type: ContentType) -> Result<(), ConfigError> {
    for (name, value) in &data.fixed {
        let expected = if value.is_missing() {
            format!("a value for `{name}`")
        } else if value.is_nested() && content_type != ContentType::Json {
            format!("a text or a number for `{name}`; {ONLY_JSON_NESTS}")
        } else {
            continue;
        };
        return Err(ConfigError::new("request_data", expected));
    }
    Ok(())
}
