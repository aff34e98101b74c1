use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

/// All values of a header, as one list (RFC 9110 5.2).
pub(super) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The first number of a header: some list a policy behind it, some count in fractions.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "neither negative nor too large")]
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = text(headers, name)?;
    let first = text.split([',', ';']).next().unwrap_or_default().trim();
    first.parse().ok().or_else(|| {
        let number = decimal(first)?;
        (number < 1e18).then_some(number as u64)
    })
}

/// The time that a header names, as seconds or as the time until a date; zero if that date is past.
pub(super) fn delay(headers: &HeaderMap, name: &str, now: SystemTime) -> Option<Duration> {
    let text = text(headers, name)?;
    let until = |moment: SystemTime| moment.duration_since(now).unwrap_or_default();
    if let Ok(date) = httpdate::parse_http_date(text.trim()) {
        return Some(until(date));
    }
    let seconds = decimal(text.split([',', ';']).next().unwrap_or_default().trim())?;
    let unix_seconds = match seconds {
        1e12.. => seconds / 1e3,
        1e9.. => seconds,
        _ => return Duration::try_from_secs_f64(seconds).ok(),
    };
    let since_epoch = Duration::try_from_secs_f64(unix_seconds).ok()?;
    UNIX_EPOCH.checked_add(since_epoch).map(until)
}

/// Digits, and perhaps a point among them.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '.');
    plain.then(|| text.parse().ok())?
}

/// One of a list: a name, and parameters.
pub(super) struct Item<'t> {
    pub(super) name: &'t str,
    parameters: Vec<(&'t str, &'t str)>,
}

impl Item<'_> {
    pub(super) fn number(&self, parameter: &str) -> Option<u64> {
        self.parameters.iter().find(|(name, _)| *name == parameter)?.1.parse().ok()
    }
}

/// The items of a list (RFC 9651 3.1). This does not read their names, so it does not matter of which type
/// they are.
pub(super) fn items(list: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    for item in split(list, ',') {
        let mut parts = split(item, ';').into_iter().map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('=')).collect();
        items.push(Item { name, parameters });
    }
    items
}

/// Splits where no quotes are around the separator.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (position, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if c == separator && !is_quoted => {
                parts.push(&text[start..position]);
                start = position + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}
