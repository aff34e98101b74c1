use forge_core::echoes;

/// A server's words, made fit for an error: short, printable, and without our secrets.
///
/// A secret that stands there as it is gets blotted out. One that can be found by decoding, percent
/// or base64, costs the whole text: where it begins and ends in there nobody can say.
pub(super) fn presentable(text: &str, longest: usize, secrets: &[&str]) -> String {
    let secrets: Vec<&str> = secrets.iter().copied().filter(|secret| !secret.is_empty()).collect();
    // Far more than is shown, so that no secret which begins there is cut in two.
    let longest_secret = secrets.iter().map(|secret| secret.len()).max().unwrap_or_default();
    let mut text: String = text.chars().take(longest + 4 * longest_secret + 1_024).collect();
    for secret in &secrets {
        text = text.replace(secret, REDACTED);
    }
    if echoes(&text, &secrets) {
        return REDACTED.to_owned();
    }
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut cut: String = printable.take(longest + 1).collect();
    if let Some((end, _)) = cut.char_indices().nth(longest) {
        cut.truncate(end);
        cut.push('…');
    }
    cut
}

const REDACTED: &str = "[redacted]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv16_a_secret_is_masked_in_whatever_form_it_is_echoed() {
        let secret = "can ary/+é";
        for echo in [
            "can ary/+é",
            "can%20ary%2F%2B%C3%A9",
            "can%20ary%2f%2b%c3%a9",
            "can+ary%2F%2B%C3%A9",
            "can%2520ary%252F%252B%25C3%25A9",
            "%63%61%6E%20%61%72%79%2F%2B%C3%A9",
            "Y2FuIGFyeS8rw6k=",
            "Y2FuIGFyeS8rw6k",
            "aWQ6Y2FuIGFyeS8rw6k=",
            "eDpjYW4gYXJ5LyvDqQ",
            "said: xY2FuIGFyeS8rw6kx!",
            "Y2FuIGFyeS8rw6k%3D",
            "can ary\\/+é",
        ] {
            let shown = presentable(echo, 200, &[secret]);
            assert!(shown.contains(REDACTED), "{echo}: {shown}");
            assert!(
                !shown.contains("ary") && !shown.contains("Y2Fu") && !shown.contains("%61"),
                "{echo}: {shown}"
            );
        }
    }

    #[test]
    fn harmless_words_stay() {
        let text = "The client is unknown, or its secret is wrong (code 42/A+B).";
        assert_eq!(presentable(text, 200, &["s3cr3t", ""]), text);
        assert_eq!(presentable("secret wrong", 200, &["secret"]), "[redacted] wrong");
        assert_eq!(presentable("aé☃b\n", 3, &[]), "aé☃…");
    }
}
