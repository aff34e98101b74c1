use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::configuration_error;
use super::shown::ShownPath;
use crate::{AuthenticationError, Secret};

/// The maximum length in bytes of a secret file.
const MAX_LEN: usize = 64 * 1024;

/// Reads the secret in a file: its text without a byte order mark and one line end. Blocks while the file system does
/// not answer.
pub(super) fn read(path: &Path) -> Result<Secret, AuthenticationError> {
    let refused = |why: &str| configuration_error(format!("the secret file {} {why}", ShownPath(path)));
    let unreadable = |error| refused("cannot be read").with_source(error);
    // Order: check before opening. Opening a FIFO waits for a writer, and opening a device may change its state.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(refused(NO_REGULAR_FILE));
    }
    let file = File::open(path).map_err(unreadable)?;
    // Race: another file may have taken the path since the first check.
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(refused(NO_REGULAR_FILE));
    }
    // The buffer has room for the whole file: growing it would leave a copy of the secret in freed memory.
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_LEN + 1));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut content).map_err(unreadable)?;
    if content.len() > MAX_LEN {
        return Err(refused("is larger than 64 KiB"));
    }
    let text = str::from_utf8(&content).map_err(|_| refused("is not UTF-8 text"))?;
    Ok(Secret::from(without_line_end(text.strip_prefix('\u{feff}').unwrap_or(text))))
}

const NO_REGULAR_FILE: &str = "is not a regular file";

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
