use std::ops::Range;

use super::{Automaton, MAX_NEEDLE_LEN, MAX_SECRETS, MIN_PART_LEN, Reading, SecretFinder, start_of};

/// Returns a server's text with these secrets masked, cut to `max_chars` characters and `…`.
///
/// The function finds all occurrences of all secrets before it masks any, so that overlapping secrets are
/// masked completely. It masks the whole text in four cases:
///
/// - the text contains a secret in another form (see [`contains_secret`](super::contains_secret)), whose place is unknown;
/// - the text contains a secret with fewer than 4 bytes, because its gap would reveal it;
/// - secrets of 128 bytes or more occur more than 16 times;
/// - there are more than 1,024 secrets.
///
/// The function reads only the part of the text that it can show, plus the length of a secret that begins there. So its
/// time and memory do not depend on the length of the text.
#[must_use]
pub fn mask_secrets(text: &str, max_chars: usize, secrets: &[&str]) -> String {
    let may_be_shown = max_chars.saturating_add(MAX_MASKED_CHARS);
    let shown = text.char_indices().nth(may_be_shown).map_or(text.len(), |(end, _)| end);
    let looked_at = boundary_from(text, shown.saturating_add(MAX_NEEDLE_LEN * MAX_ESCAPE_LEN));
    let Some(masked) = secret_ranges(&text[..looked_at], secrets) else {
        return REDACTED.to_owned();
    };
    let mut result = String::new();
    let mut at = 0;
    for range in masked.0.iter().take_while(|range| range.start < shown) {
        result.push_str(&text[at..range.start]);
        result.push_str(REDACTED);
        at = range.end;
    }
    result.push_str(text.get(at..shown).unwrap_or_default());
    let is_cut = at.max(shown) < text.len();
    cut(&mut result, max_chars, is_cut);
    result
}

/// The places of the secrets in a text. `None` if the whole text must be masked.
fn secret_ranges(text: &str, secrets: &[&str]) -> Option<Ranges> {
    if secrets.len() > MAX_SECRETS {
        return None;
    }
    let needles = secrets.iter().map(|secret| start_of(secret.as_bytes()));
    let (mut ranges, mut checked) = (Vec::new(), 0);
    for hit in Automaton::new(needles).hits(text.as_bytes()) {
        if hit.len() == MAX_NEEDLE_LEN {
            checked += 1;
            ranges.push(hit.start..hit.start + whole_secret(&text[hit.start..], secrets)?);
        } else if hit.len() >= MIN_PART_LEN {
            ranges.push(hit);
        }
        if checked > MAX_CHECKED {
            return None;
        }
    }
    let masked = Ranges::merged(ranges);
    // This also finds a very short secret, which the loop above has ignored.
    let is_uncovered = SecretFinder::new(secrets).is_outside(&masked, Reading::with_sources(text.as_bytes()));
    (!is_uncovered).then_some(masked)
}

/// The length of the longest secret that this text begins with, given that its first `MAX_NEEDLE_LEN` bytes match. `None`
/// if one of the matching secrets continues differently from the text: the text may contain the rest in an escaped form.
fn whole_secret(text: &str, secrets: &[&str]) -> Option<usize> {
    let start = start_of(text.as_bytes());
    let begun = secrets.iter().filter(|secret| start_of(secret.as_bytes()) == start);
    begun
        .map(|secret| {
            if text.starts_with(secret) {
                Some(secret.len())
            } else {
                secret.starts_with(text).then_some(text.len())
            }
        })
        .try_fold(0, |longest, length| Some(longest.max(length?)))
}

fn cut(text: &mut String, max_chars: usize, mut is_cut: bool) {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        is_cut = true;
    }
    if is_cut {
        text.push('…');
    }
}

/// The first end of a character at or after this place, or the end of the text.
fn boundary_from(text: &str, at: usize) -> usize {
    (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}

/// Parts of a text in ascending order. No two of them overlap or touch.
#[derive(Default)]
pub(super) struct Ranges(Vec<Range<usize>>);

impl Ranges {
    fn merged(mut ranges: Vec<Range<usize>>) -> Self {
        ranges.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<usize>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// Whether one of the parts contains this whole range.
    pub(super) fn contain(&self, range: &Range<usize>) -> bool {
        let after = self.0.partition_point(|part| part.start <= range.start);
        after.checked_sub(1).is_some_and(|at| range.end <= self.0[at].end)
    }
}

/// The maximum number of secrets with 128 bytes or more in one text. Attack: each of them is compared to its end, so many
/// of them in one text would make the time quadratic.
const MAX_CHECKED: usize = 16;

const REDACTED: &str = "[redacted]";

/// The number of characters that the function reads beyond those that it shows: a mask is shorter than its secret, and
/// makes room for the text after it.
const MAX_MASKED_CHARS: usize = 1_024;

/// The maximum number of bytes that an escape takes for one byte. `%2526amp%253B` takes 13; the rest is for padding with
/// zeros.
const MAX_ESCAPE_LEN: usize = 64;
