//! Checks the characters of the credentials in a token request.

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ConfigError, SecretSource, has_control_character,
};

/// Checks for the control characters that RFC 6749 forbids in the identifier and the secret of a client (A.1, A.2).
pub(super) fn check_client_text(field: &'static str, text: &str) -> Result<(), ConfigError> {
    check(field, has_control_character(text))
}

/// Checks for the control characters that RFC 6749 forbids in the name and the password of a user (A.15, A.16): all but
/// the tab.
pub(super) fn check_user_text(field: &'static str, text: &str) -> Result<(), ConfigError> {
    check(field, text.split('\t').any(has_control_character))
}

/// Checks a secret that the builder already knows, so that `build` fails instead of the first call.
pub(super) fn check_known(
    field: &'static str,
    secret: &SecretSource,
    check: impl Fn(&'static str, &str) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    secret.value().map_or(Ok(()), |secret| check(field, secret.expose()))
}

/// The error of a call that has read an invalid credential.
pub(super) fn invalid_credential_error(error: &ConfigError) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(error.to_string())
}

fn check(field: &'static str, is_refused: bool) -> Result<(), ConfigError> {
    if is_refused {
        return Err(ConfigError::new(field, "no control characters, such as the line end of a file"));
    }
    Ok(())
}
