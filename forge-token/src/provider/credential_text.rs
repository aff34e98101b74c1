//! Which characters a credential may have that a token request carries.

use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ConfigError, SecretSource, has_control_character,
};

/// Refuses what RFC 6749 forbids in the identifier and the secret of a client (A.1, A.2).
pub(super) fn check_client_text(field: &'static str, text: &str) -> Result<(), ConfigError> {
    check(field, has_control_character(text))
}

/// Refuses what RFC 6749 forbids in the name and the password of a user (A.15, A.16): a tab may stand there.
pub(super) fn check_user_text(field: &'static str, text: &str) -> Result<(), ConfigError> {
    check(field, text.split('\t').any(has_control_character))
}

/// Refuses a secret that is known already and fails this check, so that the first call need not.
pub(super) fn check_known(
    field: &'static str,
    secret: &SecretSource,
    check: impl Fn(&'static str, &str) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    secret.value().map_or(Ok(()), |secret| check(field, secret.expose()))
}

/// The error of a call whose credential was read just now, and is refused.
pub(super) fn unusable(error: &ConfigError) -> AuthenticationError {
    AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(error.to_string())
}

fn check(field: &'static str, is_refused: bool) -> Result<(), ConfigError> {
    if is_refused {
        return Err(ConfigError::new(
            field,
            "no control characters, such as a line end at the end of a file",
        ));
    }
    Ok(())
}
