//! What a builder logs of settings that are valid, and most likely a mistake.

use crate::auth::Scheme;
use crate::target::Origin;

/// Warns once if credentials go to one of these origins in the clear. The setting silences the warning.
pub(crate) fn warn_of_plain_http<'a>(origins: impl IntoIterator<Item = &'a Origin>, setting: &str) {
    let plain: Vec<String> =
        origins.into_iter().filter(|origin| origin.is_plain_http()).map(ToString::to_string).collect();
    if !plain.is_empty() {
        tracing::warn!(
            origins = plain.join(", "),
            "credentials go over plain http, and everybody on the way can read them: use https, or accept it with {setting}"
        );
    }
}

/// Warns once if some excluded paths or patterns match no path: requests keep the credentials that they were meant
/// to lose. All paths that are sent begin with the directory, if there is one.
pub(crate) fn warn_of_exclusions(scheme: &Scheme, directory: Option<&str>) {
    let excluded = scheme.never_excluded(directory);
    if !excluded.is_empty() {
        tracing::warn!(
            ?excluded,
            base_path = directory,
            "these excluded paths and patterns match no path that is sent, so they leave no credential out: a path \
             includes that of the base URL, and no query, fragment or dot segment"
        );
    }
}
