use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{ConfigError, Secret};

/// The credentials of HTTP Basic without the scheme (RFC 7617 2): user name, colon and password in base64.
///
/// # Errors
///
/// The field is `username` if the user name contains a colon or a control character. It is `password` if the
/// password contains a control character, such as the line end of a file.
pub fn basic_credentials(username: &str, password: &Secret) -> Result<Secret, ConfigError> {
    if username.contains(':') || has_control_character(username) {
        return Err(ConfigError::new("username", "no colon and no control characters (RFC 7617 2)"));
    }
    if has_control_character(password.expose()) {
        let expected = "no control characters, such as a line end (RFC 7617 2)";
        return Err(ConfigError::new("password", expected));
    }
    let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
    Ok(Secret::from(STANDARD.encode(pair.as_bytes())))
}

/// Whether a text contains a control character (CTL of RFC 5234 B.1).
#[must_use]
pub fn has_control_character(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_have_no_control_characters_and_no_colon_in_the_name() {
        let pair = |username: &str, password: &str| basic_credentials(username, &Secret::from(password));
        assert_eq!(pair("test", "123£").unwrap().expose(), "dGVzdDoxMjPCow==", "of RFC 7617 2.1");
        assert_eq!(pair("", ":ü\u{85}").unwrap().expose(), STANDARD.encode("::ü\u{85}"));
        for control in (0..=0x1f_u8).chain([0x7f]).map(char::from) {
            let text = format!("canary{control}");
            for (refused, field) in [(pair(&text, "x"), "username"), (pair("x", &text), "password")] {
                let error = refused.unwrap_err();
                assert_eq!(error.field(), field, "{control:?}");
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
        }
        assert_eq!(pair("a:b", "x").unwrap_err().field(), "username");
    }
}
