use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;

/// Whether one of these secrets can be read in a text that a server sent: as it is, percent-encoded, in
/// base64, or escaped. A server that echoes what it was sent does so in many ways, and none of them belongs
/// into an error or a log.
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
    let holds_any = |text: &String| secrets.iter().any(|secret| text.contains(secret));
    readings(text).iter().any(|reading| {
        holds_any(reading) || in_base64(reading).any(|decoded| readings(&decoded).iter().any(holds_any))
    })
}

/// A text, and what it says where it is escaped, or percent-encoded once or twice. Forms write a space
/// as `+`.
fn readings(text: &str) -> Vec<String> {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut readings = Vec::new();
    for raw in [text.to_owned(), text.replace('+', " "), text.replace('\\', "")] {
        let once = decode(&raw);
        readings.extend([decode(&once), decode(&once.replace('+', " ")), once, raw]);
    }
    readings
}

/// All that a text may say in base64, of either alphabet, from whichever character on.
fn in_base64(text: &str) -> impl Iterator<Item = String> + '_ {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireNone)
            .with_decode_allow_trailing_bits(true),
    );
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    text.split(move |c| !is_base64(c)).filter(|run| run.len() >= 4).flat_map(|run| {
        let run = run.replace('+', "-").replace('/', "_");
        (0..4).filter_map(move |skipped| {
            let rest = run.get(skipped..)?;
            // One character over says nothing.
            let whole = if rest.len() % 4 == 1 { &rest[..rest.len() - 1] } else { rest };
            LENIENT.decode(whole).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
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
        assert!(!echoes("can ary/", &[secret]));
        assert!(!echoes("can ary/+é", &[]));
    }
}
