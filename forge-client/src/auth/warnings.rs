//! The warnings that a builder logs for settings that are valid, but most likely a mistake.

use super::plan::AuthPlan;
use crate::origin::Origin;

/// Logs one warning if credentials go to one of these origins over plain http. `setting` names the setting that
/// silences the warning.
pub(crate) fn warn_about_plain_http<'a>(origins: impl IntoIterator<Item = &'a Origin>, setting: &str) {
    let plain: Vec<String> =
        origins.into_iter().filter(|origin| origin.is_plain_http()).map(ToString::to_string).collect();
    if !plain.is_empty() {
        tracing::warn!(
            origins = plain.join(", "),
            "credentials go over plain http, so others on the network can read them: use https, or accept this with \
             {setting}"
        );
    }
}

/// Logs one warning if some excluded paths or patterns match no path: requests to the paths that the user meant
/// would carry credentials. If there is a `directory`, all paths that are sent begin with it.
pub(crate) fn warn_about_exclusions(plan: &AuthPlan, directory: Option<&str>) {
    let excluded = plan.ineffective_exclusions(directory);
    if !excluded.is_empty() {
        tracing::warn!(
            ?excluded,
            base_path = directory,
            "these excluded paths and patterns match no path that is sent, so they exclude no request: a path \
             includes the path of the base URL, but no query, fragment or dot segment"
        );
    }
}
