use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

/// Whether one of these secrets can be read in a text that a server sent: as it is, percent-encoded, in
/// base64, or escaped. A server that echoes what it was sent does so in many ways, and none of them belongs
/// into an error or a log.
///
/// What this costs grows with the length of the text and the number of secrets, whatever the text says.
///
/// ```
/// use forge_core::echoes;
///
/// assert!(echoes("you said: s%33cret", &["s3cret"]));
/// assert!(echoes("Basic aWQ6czNjcmV0", &["s3cret"])); // id:s3cret
/// assert!(!echoes("nothing of the kind", &["s3cret"]));
/// ```
#[must_use]
pub fn echoes(text: &str, secrets: &[&str]) -> bool {
    let secrets = Needles::new(secrets);
    // No encoding makes a secret shorter.
    if text.len() < secrets.shortest {
        return false;
    }
    readings(text.as_bytes(), 2).iter().any(|reading| {
        secrets.are_in(reading)
            || in_base64(reading, secrets.shortest)
                .any(|decoded| readings(&decoded, 1).iter().any(|reading| secrets.are_in(reading)))
    })
}

/// What is searched for, [folded].
struct Needles {
    needles: Vec<Zeroizing<Vec<u8>>>,
    shortest: usize,
}

impl Needles {
    fn new(secrets: &[&str]) -> Self {
        let needles: Vec<_> =
            secrets.iter().map(|secret| Zeroizing::new(folded(secret.as_bytes()).into_owned())).collect();
        let shortest = needles.iter().map(|needle| needle.len()).min().unwrap_or(usize::MAX);
        Self { needles, shortest }
    }

    fn are_in(&self, text: &[u8]) -> bool {
        let text = folded(text);
        self.needles.iter().any(|needle| memmem::find(&text, needle).is_some())
    }
}

/// A text in which it makes no difference whether it was escaped, and whether a space is a `+`, as forms
/// write it.
fn folded(text: &[u8]) -> Cow<'_, [u8]> {
    let spaced = |c: u8| if c == b'+' { b' ' } else { c };
    if memchr::memchr2(b'+', b'\\', text).is_none() {
        return text.into();
    }
    unescaped(text).iter().copied().map(spaced).collect()
}

fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    match memchr::memchr(b'\\', text) {
        Some(_) => text.iter().copied().filter(|c| *c != b'\\').collect(),
        None => text.into(),
    }
}

/// A text, and what it says where it is percent-encoded up to so many times. None of them twice.
fn readings(text: &[u8], times: usize) -> Vec<Cow<'_, [u8]>> {
    let mut readings = vec![unescaped(text)];
    for _ in 0..times {
        match readings.last().map(|text| Cow::from(percent_decode(text))) {
            Some(Cow::Owned(decoded)) => readings.push(decoded.into()),
            _ => break,
        }
    }
    readings
}

/// All that a text may say in base64, of either alphabet, from whichever character on; not what would be
/// shorter than `shortest`.
fn in_base64(text: &[u8], shortest: usize) -> impl Iterator<Item = Vec<u8>> + '_ {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let is_base64 = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'-' | b'_');
    let url_safe = |c: &u8| match c {
        b'+' => b'-',
        b'/' => b'_',
        c => *c,
    };
    let can_say = move |run: &[u8]| run.len() * 3 / 4 >= shortest.max(1);
    text.split(move |c| !is_base64(c)).filter(move |run| can_say(run)).flat_map(move |run| {
        let run: Vec<u8> = run.iter().map(url_safe).collect();
        (0..4).filter_map(move |skipped| {
            let rest = run.get(skipped..)?;
            // One character over says nothing.
            let whole = if rest.len() % 4 == 1 { &rest[..rest.len() - 1] } else { rest };
            LENIENT.decode(whole).ok()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv16_a_secret_is_found_in_whatever_form_it_is_echoed() {
        let secret = "can ary/+é";
        for echo in [
            "said: can ary/+é",
            "can%20ary%2F%2B%C3%A9",
            "can+ary%2f%2b%c3%a9",
            "can%2520ary%252F%252B%25C3%25A9",
            "can ary\\/+é",
            "said: xY2FuIGFyeS8rw6kx!",
            "eDpjYW4gYXJ5LyvDqQ",
        ] {
            assert!(echoes(echo, &["another", secret]), "{echo}");
            assert!(!echoes(echo, &["another"]), "{echo}");
        }
        // In base64 and percent-encoded: a Basic credential as RFC 6749 2.3.1 has it.
        assert!(echoes("Basic aWQ6Y2FuK2FyeSUyRiUyQiVDMyVBOQ==", &[secret]));
        assert!(!echoes("can ary/", &[secret]));
        assert!(!echoes("can ary/+é", &[]));
    }

    #[test]
    fn nothing_is_read_twice() {
        let read = |text: &'static str| readings(text.as_bytes(), 2).len();
        assert_eq!(
            ["plain", "a+b\\c", "100 %", "a%20b", "a%2520b", "a%252520b"].map(read),
            [1, 1, 1, 2, 3, 3]
        );
        let decoded = |text: &'static str, shortest| in_base64(text.as_bytes(), shortest).count();
        assert_eq!(decoded("of words, none holds as much", 6), 0);
        assert_eq!(["aWQ6czNj", "aWQ6czN"].map(|text| decoded(text, 6)), [4, 0]);
    }
}
