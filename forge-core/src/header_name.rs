use http::HeaderName;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

use crate::ConfigError;

/// Whether a header says where a message ends. The body decides this. Attack: if a header contradicts the body, a server
/// may read two requests where the client sent one (request smuggling, RFC 9112 11.2).
#[must_use]
pub fn is_framing(name: &HeaderName) -> bool {
    [CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
}

/// Checks the name of a cookie. The same characters are valid as in a header's name, but case matters (RFC 6265
/// 4.1.1).
///
/// # Errors
///
/// The name is empty or contains an invalid character.
pub fn check_cookie_name(field: &'static str, name: &str) -> Result<(), ConfigError> {
    match HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(ConfigError::new(field, "the name of a cookie (RFC 6265 4.1.1)").with_source(error))
        }
    }
}

/// Checks that a caller may set this header.
///
/// # Errors
///
/// The header [says where the message ends](is_framing).
pub fn check_header_name(field: &'static str, name: &HeaderName) -> Result<(), ConfigError> {
    if is_framing(name) {
        let expected = format!("a header other than `{name}`, which follows from the body");
        return Err(ConfigError::new(field, expected));
    }
    Ok(())
}
