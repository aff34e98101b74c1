use std::ops::Range;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::escape;

/// The decoded bytes of a part of a text, and its place.
type DecodedPart = (Range<usize>, Vec<u8>);

/// Decodes all parts of a text that may be base64, hexadecimal or lists of bytes. Leaves out results that are shorter than
/// `shortest`, which must not be 0.
pub(super) fn encoded(text: &[u8], shortest: usize) -> impl Iterator<Item = DecodedPart> + '_ {
    in_base64(text, shortest).chain(in_hex(text, shortest)).chain(byte_lists(text, shortest))
}

/// Decodes base64 in both alphabets, with or without line ends (MIME), and from each of the first four characters on: the
/// text before the base64 may consist of the same characters.
fn in_base64(text: &[u8], shortest: usize) -> impl Iterator<Item = DecodedPart> + '_ {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let is_base64 =
        |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'-' | b'_' | b'\r' | b'\n');
    let url_safe = |c: &u8| match c {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        b'\r' | b'\n' => None,
        c => Some(*c),
    };
    let can_say = move |run: &[u8]| run.len() * 3 / 4 >= shortest;
    runs(text, is_base64).filter(move |run| can_say(&text[run.clone()])).flat_map(move |place| {
        let run: Vec<u8> = text[place.clone()].iter().filter_map(url_safe).collect();
        (0..4).filter_map(move |skipped| {
            let rest = run.get(skipped..)?;
            // A single last character carries only 6 bits, and so no byte.
            let whole = if rest.len() % 4 == 1 { &rest[..rest.len() - 1] } else { rest };
            LENIENT.decode(whole).ok().map(|says| (place.clone(), says))
        })
    })
}

/// Decodes hexadecimal in both cases, from the first and from the second digit on.
fn in_hex(text: &[u8], shortest: usize) -> impl Iterator<Item = DecodedPart> + '_ {
    let is_long = move |run: &Range<usize>| run.len() / 2 >= shortest;
    runs(text, |c| c.is_ascii_hexdigit()).filter(is_long).flat_map(move |place| {
        (0..2).map(move |skipped| {
            let digits = &text[place.start + skipped..place.end];
            (place.clone(), digits.chunks_exact(2).filter_map(escape::byte).collect())
        })
    })
}

/// Decodes lists of numbers below 256 that are separated by anything but letters. The numbers may be decimal, also negative
/// as Java shows bytes, or hexadecimal. Of a decimal list this also decodes every second number, because JavaScript shows
/// an array as `{"0":115,"1":51}`.
fn byte_lists(text: &[u8], shortest: usize) -> impl Iterator<Item = DecodedPart> + '_ {
    let lists = |read: fn(&[u8], Range<usize>) -> Option<u8>| {
        let mut tokens = runs(text, |c| c.is_ascii_alphanumeric());
        std::iter::from_fn(move || {
            let mut list: Option<DecodedPart> = None;
            for token in tokens.by_ref() {
                match (read(text, token.clone()), &mut list) {
                    (Some(byte), Some((place, bytes))) => {
                        place.end = token.end;
                        bytes.push(byte);
                    }
                    (Some(byte), None) => list = Some((token, vec![byte])),
                    (None, Some(_)) => break,
                    (None, None) => {}
                }
            }
            list
        })
        .filter(move |(_, bytes)| bytes.len() >= shortest)
    };
    let decimal = lists(decimal_byte).flat_map(|(place, bytes)| {
        let every_second = |skipped| bytes.iter().skip(skipped).step_by(2).copied().collect();
        let halves: [Vec<u8>; 2] = [every_second(0), every_second(1)];
        halves.into_iter().chain([bytes]).map(move |bytes| (place.clone(), bytes))
    });
    decimal.chain(lists(hex_byte))
}

fn decimal_byte(text: &[u8], token: Range<usize>) -> Option<u8> {
    let byte: u8 = str::from_utf8(&text[token.clone()]).ok()?.parse().ok()?;
    let before = |count: usize| token.start.checked_sub(count).map(|at| text[at]);
    let is_negative = before(1) == Some(b'-') && !before(2).is_some_and(|c| c.is_ascii_alphanumeric());
    Some(if is_negative { byte.wrapping_neg() } else { byte })
}

fn hex_byte(text: &[u8], token: Range<usize>) -> Option<u8> {
    let token = &text[token];
    let digits = token.strip_prefix(b"0x").or_else(|| token.strip_prefix(b"0X")).unwrap_or(token);
    escape::byte(digits).filter(|_| digits.len() == 2 || digits.len() < token.len())
}

/// The longest parts of a text that consist only of such bytes.
fn runs(text: &[u8], is_part: fn(u8) -> bool) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].iter().position(|c| is_part(*c))?;
        at = text[start..].iter().position(|c| !is_part(*c)).map_or(text.len(), |length| start + length);
        Some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv34_nothing_is_decoded_that_could_not_say_a_secret() {
        let decoded = |text: &str, shortest| encoded(text.as_bytes(), shortest).count();
        assert_eq!(decoded("of words, none holds as much", 6), 0);
        assert_eq!(["aWQ6czNj", "aWQ6czN", "616263646566"].map(|text| decoded(text, 6)), [4, 0, 6]);
        assert_eq!(decoded("1 2 3 4 5 and 6", 6), 0);
    }

    #[test]
    fn inv34_lists_of_bytes_are_read() {
        let all = |text: &str| byte_lists(text.as_bytes(), 3).map(|(_, bytes)| bytes).collect::<Vec<_>>();
        assert!(all("x 1, 2,\n3 y").contains(&vec![1, 2, 3]));
        assert!(all("300 [-1,-128,3]").contains(&vec![255, 128, 3]));
        assert!(all("1-2-3").contains(&vec![1, 2, 3]));
        assert!(all("0:97 1:98 2:99").contains(&vec![97, 98, 99]));
        assert!(all("61:6B:6c 123").contains(&vec![0x61, 0x6b, 0x6c]));
        assert!(all("0x1 0xab 0Xcd").contains(&vec![1, 0xab, 0xcd]));
    }
}
