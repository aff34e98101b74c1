//! The texts of errors of the operating system.

use std::io;

/// The text for an error of the operating system.
pub(crate) fn system_error_text(error: &io::Error) -> String {
    // Only the kind, because the text may contain more than the system's own words. An unknown host has no kind.
    match error.kind().to_string() {
        kind if kind == "uncategorized error" || kind == "other error" => match error.raw_os_error() {
            Some(number) => format!("the system refused (error {number})"),
            None => "the host is not found".to_owned(),
        },
        kind => kind,
    }
}
