mod automaton;
mod encoded;
mod escape;
mod mask;
mod printable;
mod reading;

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use automaton::Automaton;
use mask::Ranges;
use reading::Reading;

pub use mask::mask_secrets;
pub use printable::is_printable;

/// Whether a text that a server sent contains one of these secrets: unchanged, percent-encoded, escaped for HTML or by
/// backslashes, in base64, in hexadecimal, or as a list of bytes. Servers echo requests in all these forms, and no form of
/// a secret may appear in an error or a log.
///
/// Time and memory grow with the sum of the lengths of text and secrets, not with their product. There are three limits.
/// Of a secret with more than 128 bytes the function searches only the first 116. It does not search a secret with fewer
/// than 4 bytes in base64, hexadecimal and lists, because these contain such a secret by chance. For more than 1,024
/// secrets it does not search, and returns `true` to be on the safe side.
///
/// ```
/// use requestforge::auth::contains_secret;
///
/// assert!(contains_secret("you said: s%33cret", &["s3cret"]));
/// assert!(contains_secret("Basic aWQ6czNjcmV0", &["s3cret"])); // id:s3cret
/// assert!(!contains_secret("nothing of the kind", &["s3cret"]));
/// ```
#[must_use]
pub fn contains_secret(text: &str, secrets: &[&str]) -> bool {
    SecretFinder::new(secrets).is_in(text)
}

/// Searches many texts for the same secrets. See [`contains_secret`] for the forms that it finds.
pub struct SecretFinder {
    /// Searches for the [folded](Reading::folded) secrets.
    automaton: Automaton,
    /// The length of the shortest secret in bytes; `None` if there is no secret to search.
    shortest: Option<usize>,
    has_too_many: bool,
}

impl SecretFinder {
    /// A finder for these secrets. It ignores empty ones.
    #[must_use]
    pub fn new<S: AsRef<str>>(secrets: &[S]) -> Self {
        let has_too_many = secrets.len() > MAX_SECRETS;
        let secrets = if has_too_many { &[] } else { secrets };
        let needles: Vec<_> = secrets.iter().flat_map(|secret| needles(secret.as_ref())).collect();
        Self {
            automaton: Automaton::new(needles.iter().map(|needle| needle.as_slice())),
            shortest: needles.iter().map(|needle| needle.len()).min(),
            has_too_many,
        }
    }

    /// Whether this text contains one of the secrets.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        let text = Reading::without_sources(text.as_bytes());
        self.has_too_many || self.is_outside(&Ranges::default(), text)
    }

    /// Whether the text contains a secret outside of these ranges.
    fn is_outside(&self, masked: &Ranges, text: Reading<'_>) -> bool {
        // A text that is shorter than every secret contains none, because no encoding makes a secret shorter.
        let Some(shortest) = self.shortest.filter(|shortest| *shortest <= text.bytes.len()) else {
            return false;
        };
        text.unescaped(3).iter().any(|reading| {
            self.is_plainly_outside(masked, reading)
                || encoded::encoded(&reading.bytes, shortest.max(MIN_PART_LEN))
                    .any(|(place, says)| !masked.contain(&reading.source(place)) && self.is_decoded_in(&says))
        })
    }

    fn is_plainly_outside(&self, masked: &Ranges, reading: &Reading<'_>) -> bool {
        let folded = reading.folded();
        self.automaton.hits(&folded.bytes).any(|hit| !masked.contain(&folded.source(hit)))
    }

    fn is_decoded_in(&self, says: &[u8]) -> bool {
        Reading::without_sources(says).unescaped(2).iter().any(|reading| {
            let folded = reading.folded();
            self.automaton.hits(&folded.bytes).any(|hit| hit.len() >= MIN_PART_LEN)
        })
    }
}

impl fmt::Debug for SecretFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretFinder").finish_non_exhaustive()
    }
}

/// The texts to search for one secret, all [folded](Reading::folded): the secret itself, and the secret with its own
/// apparent escapes decoded. The latter are necessary because decoding a server's text decodes every kind of escape, and
/// so also those that belong to the secret.
fn needles(secret: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let start = start_of(secret.as_bytes());
    let is_cut = start.len() < secret.len();
    let mut needles: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let whole = Reading::without_sources(start);
    for (at, reading) in [whole.clone()].into_iter().chain(whole.unescaped(2).into_iter().skip(1)).enumerate()
    {
        let mut needle = Zeroizing::new(match reading.folded() {
            Cow::Owned(folded) => folded.bytes.into_owned(),
            Cow::Borrowed(reading) => reading.bytes.to_vec(),
        });
        drop(Zeroizing::new(reading.bytes.into_owned()));
        if is_cut {
            // The cut at the maximum length may have split an escape.
            let end = needle.len().saturating_sub(MAX_CUT_ESCAPE_LEN);
            needle.truncate(end);
        }
        let least = if at > 0 { MIN_PART_LEN } else { 1 };
        if needle.len() >= least && !needles.contains(&needle) {
            needles.push(needle);
        }
    }
    needles
}

/// The part of a secret that is searched for.
fn start_of(secret: &[u8]) -> &[u8] {
    secret.get(..MAX_NEEDLE_LEN).unwrap_or(secret)
}

/// Limits the memory for one secret. Attack: a server may send 200 kB in the place of a token.
const MAX_NEEDLE_LEN: usize = 128;

/// The length of `&#x00000026;`, the longest escape that servers write.
const MAX_CUT_ESCAPE_LEN: usize = 12;

/// Limits the memory for all secrets: a request may have many cookies.
const MAX_SECRETS: usize = 1_024;

/// The shortest secret that is masked within a text. A shorter one occurs in many words by chance, and the
/// gaps of its mask would reveal it.
const MIN_PART_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::automaton::STEPS;
    use super::*;

    #[test]
    fn inv16_a_secret_is_found_in_whatever_form_it_is_echoed() {
        let secret = "can ary/+é";
        for echo in [
            "said: can ary/+é",
            "can%20ary%2F%2B%C3%A9",
            "can+ary%2f%2b%c3%a9",
            "can%2520ary%252F%252B%25C3%25A9",
            "can%252520ary%25252F%25252B%2525C3%2525A9",
            "said: Y2FuJTI1MjBhcnklMjUyRiUyNTJCJTI1QzMlMjVBOQ==", // of the line before the last
            "can ary\\/+é",
            "said: xY2FuIGFyeS8rw6kx!",
            "eDpjYW4gYXJ5LyvDqQ",
        ] {
            assert!(contains_secret(echo, &["another", secret]), "{echo}");
            assert!(!contains_secret(echo, &["another"]), "{echo}");
        }
        // In base64 and percent-encoded: a Basic credential by RFC 6749 2.3.1.
        assert!(contains_secret("Basic aWQ6Y2FuK2FyeSUyRiUyQiVDMyVBOQ==", &[secret]));
        assert!(!contains_secret("can ary/", &[secret]));
        assert!(!contains_secret("can ary/+é", &[]));
    }

    #[test]
    fn nothing_is_read_twice() {
        let read = |text: &'static str| Reading::without_sources(text.as_bytes()).unescaped(3).len();
        assert_eq!(
            ["plain", "a+b\\c", "100 %", "a%20b", "a%2520b", "a%252520b", "a\\u0025b%20"].map(read),
            [1, 2, 1, 2, 3, 4, 3]
        );
    }

    #[test]
    fn inv34_of_long_secrets_and_of_many_the_search_stays_small() {
        let long = "0123456789abcdef".repeat(20_000);
        let looked_for = MAX_NEEDLE_LEN - MAX_CUT_ESCAPE_LEN;
        assert!(contains_secret(&format!("got {}", &long[..looked_for]), &[&long]));
        assert!(!contains_secret(&long[..looked_for - 1], &[&long]));
        assert!(!contains_secret("nothing of the kind", &["", "\\"]));
        let many: Vec<String> = (0..=MAX_SECRETS).map(|number| format!("secret-{number:04}")).collect();
        assert!(SecretFinder::new(&many).is_in("nothing of the kind"), "fails on the safe side");
        let finder = SecretFinder::new(&many[1..]);
        assert!(!finder.is_in("nothing of the kind") && finder.is_in("it was secret-0777"));
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(mask_secrets("nothing", 200, &many), "[redacted]");
        // The search would compare each of them to its end.
        assert_eq!(mask_secrets(&format!("got {long}"), 200, &[&long]), "[redacted]");
    }

    #[test]
    fn inv34_short_secrets_are_not_made_out_in_what_could_say_anything() {
        assert!(contains_secret("a1b", &["1"]) && contains_secret("&#49;", &["1"]));
        assert!(!contains_secret("MTExMTEx", &["1"]), "six of them in base64");
        assert!(contains_secret("MTExMTEx", &["1111"]));
    }

    /// The test counts the steps of the search. It does not count decoding: the decoded text is as long as
    /// the searched one.
    #[test]
    fn inv34_a_search_takes_as_long_as_the_text_whatever_both_say() {
        let near_misses: Vec<String> =
            (0..1_000).map(|number| format!("{}b{number}", "a".repeat(number % 120))).collect();
        let steps = |finder: &SecretFinder, text: &str| {
            let before = STEPS.get();
            assert!(!finder.is_in(text), "{}", &text[..30]);
            STEPS.get() - before
        };
        let finder = SecretFinder::new(&near_misses);
        for piece in ["a", "aab", "%61", "&#x61;a", "\\u0061\\", "61", "97,", "YWFh", "%2561+", "é", "0x61 "]
        {
            let [short, long] = [4_000, 40_000].map(|length| piece.repeat(length / piece.len()));
            let most = steps(&finder, &long);
            assert!(most <= 24 * long.len(), "{piece}: {most}");
            assert!(most <= 11 * steps(&finder, &short).max(long.len()), "{piece}: {most}");
        }
    }

    #[test]
    fn inv34_masking_takes_as_long_as_what_is_shown() {
        let token = "d".repeat(200_000);
        let secrets = ["e", "ee", "eeee", "eeeeeeee", "d", &token];
        for text in ["e".repeat(800_000), "%65".repeat(300_000), "d".repeat(800_000), token.clone()] {
            let before = STEPS.get();
            assert!(mask_secrets(&text, 200, &secrets).starts_with("[redacted]"));
            let steps = STEPS.get() - before;
            assert!(steps < 80_000, "{steps}");
        }
    }
}
