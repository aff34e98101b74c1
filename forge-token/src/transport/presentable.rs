use forge_core::{is_printable, mask_secrets};

/// A server's text in a form that an error may show: short, printable, and without secrets.
pub(super) fn presentable(text: &str, longest: usize, secrets: &[&str]) -> String {
    let masked = mask_secrets(text, longest, secrets);
    masked.chars().map(|c| if is_printable(c) { c } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REDACTED: &str = "[redacted]";

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
    fn inv34_a_secret_that_is_part_of_another_uncovers_nothing() {
        for (text, secrets, shown) in [
            ("shop-9f8e is wrong", &["shop", "shop-9f8e"][..], "[redacted] is wrong"),
            ("shop-9f8e is not of shop", &["shop-9f8e", "shop"], "[redacted] is not of [redacted]"),
            ("abcd2efgh, no", &["2", "abcd2efgh"], "[redacted], no"),
            ("not my-secret-horse-battery!", &["secret", "my-secret-horse-battery"], "not [redacted]!"),
            // Secrets that overlap, touch or are equal.
            ("x one-two-three x", &["one-two", "two-three"], "x [redacted] x"),
            ("x onetwothree x", &["three", "one", "two", "onet"], "[redacted]"),
            ("x onefourthree x", &["three", "four", "four", "onef"], "x [redacted] x"),
            ("aaaaaaa", &["aaaa"], "[redacted]"),
            // The longer secret, percent-encoded.
            ("shop%2D9f8e", &["shop", "shop-9f8e"], "[redacted]"),
            ("shop%2F", &["shop", "shop/"], "[redacted]"),
            // The text escapes another word, but not the secret.
            ("50%25 of shop-9f8e", &["shop", "shop-9f8e"], "50%25 of [redacted]"),
            (r#"{\"id\":\"shop\"}"#, &["shop"], r#"{\"id\":\"[redacted]\"}"#),
            ("see shop-9f8e&#x2d;7", &["shop-9f8e-7", "shop-9f8e"], "[redacted]"),
        ] {
            assert_eq!(presentable(text, 200, secrets), shown, "{text}");
        }
    }

    #[test]
    fn inv34_a_very_short_secret_costs_the_whole_text() {
        assert_eq!(presentable("the client is unknown", 200, &["li"]), REDACTED);
        assert_eq!(presentable("the client is unknown", 200, &["cli"]), REDACTED);
        assert_eq!(presentable("the client is unknown", 200, &["clie"]), "the [redacted]nt is unknown");
        assert_eq!(presentable("the client is unknown", 200, &["z"]), "the client is unknown");
    }

    #[test]
    fn inv34_a_secret_is_masked_whatever_escaping_the_server_used() {
        let secret = "s3&cret<ü>\"/";
        for echo in [
            "s3&amp;cret&lt;&uuml;&gt;&quot;/",
            "s3&amp;cret&lt;ü&gt;&quot;/",
            "s3&#38;cret&#60;&#252;&#62;&#34;&#47;",
            "s3&#x26;cret&#X3c;&#xfc;&#x3E;&#x22;&#x2F;",
            "s3&#00038cret&#60&#252&#62&#34/",
            "s3&amp;amp;cret&amp;lt;ü&amp;gt;&amp;quot;/",
            "s3%26amp%3Bcret%26lt%3B%C3%BC%26gt%3B%26quot%3B%2F",
            "733326637265743cc3bc3e222f",
            "said 0x733326637265743CC3BC3E222F!",
            "f733326637265743cc3bc3e222f0",
            "73:33:26:63:72:65:74:3c:c3:bc:3e:22:2f",
            "0x73, 0x33, 0x26, 0x63, 0x72, 0x65, 0x74, 0x3C, 0xC3, 0xBC, 0x3E, 0x22, 0x2F",
            "[115, 51, 38, 99, 114, 101, 116, 60, 195, 188, 62, 34, 47]",
            "[115,51,38,99,114,101,116,60,-61,-68,62,34,47]",
            "[1, 115,\n    51,\n    38, 99, 114, 101, 116, 60, 195, 188, 62, 34, 47, 300]",
            r#"{"0":115,"1":51,"2":38,"3":99,"4":114,"5":101,"6":116,"7":60,"8":195,"9":188,"10":62,"11":34,"12":47}"#,
            r#"s3\u0026cret\u003c\u00fc\u003E\"\/"#,
            r#"s3\u0026cret\u003c\u00fc\u003E\\"\/"#,
            r#"s3\u0026amp;cret\u003cü\u003e\"/"#,
            r"\u{73}\u{33}\u{26}\u{63}\u{72}\u{65}\u{74}\u{3c}\u{fc}\u{3e}\u{22}\u{2f}",
            r"\u{0073}3\u{000026}cret\U0000003cü>\u0022/",
            r"\x73\x33\x26\x63\x72\x65\x74\x3C\xC3\xBC\x3E\x22\x2F",
        ] {
            assert_eq!(presentable(echo, 200, &[secret, "another"]), REDACTED, "{echo}");
        }
        assert_eq!(presentable(r"\ud83d\ude00-key", 200, &["\u{1f600}-key"]), REDACTED);
        assert_eq!(presentable(r"first\nlast", 200, &["first\nlast"]), REDACTED);
        // The secret itself contains text that looks like an escape of another kind.
        for echo in
            [r"a%2B&amp;\u0041&#43;z", "a%2B&#38;&#92;u0041&amp;#43;z", r"a%252B%26\u0041%26%2343%3Bz"]
        {
            assert_eq!(presentable(echo, 200, &[r"a%2B&\u0041&#43;z"]), REDACTED, "{echo}");
        }
        let long = format!("{}%2B<", "a".repeat(125));
        assert_eq!(presentable(&long.replace('<', "&lt;"), 200, &[&long]), REDACTED);
        let long = format!("&{}%2B<", "a".repeat(125));
        assert_eq!(presentable(&long.replace('&', "&amp;"), 200, &[&long]), REDACTED);
        // Base64 in lines, as in MIME.
        assert_eq!(presentable("czMmY3Jld\r\nDzDvD4iLw==", 200, &[secret]), REDACTED);
    }

    #[test]
    fn inv34_what_is_invisible_or_turns_the_line_around_is_not_shown() {
        for c in "\u{202e}\u{2028}\u{2029}\u{2066}\u{200b}\u{200f}\u{feff}\u{ad}\u{61c}\u{e0041}\u{85}\u{1b}"
            .chars()
        {
            assert_eq!(presentable(&format!("a{c}b"), 200, &[]), "a b", "{c:?}");
        }
        assert_eq!(presentable("naïve ☃ 日本 👍\u{fe0f}", 200, &[]), "naïve ☃ 日本 👍\u{fe0f}");
    }

    #[test]
    fn inv34_a_secret_is_masked_as_far_as_the_text_is_shown() {
        // A secret that is longer than the searched part, and one that begins at its end.
        let long = (0..60_000).map(|number| format!("{number:05x}")).collect::<Vec<_>>().concat();
        let shown = presentable(&format!("got {long} and {long}"), 200, &[&long]);
        assert_eq!(shown, "got [redacted]…");
        assert_eq!(presentable(&format!("got {}", &long[..3_000]), 200, &[&long[..3_000]]), "got [redacted]");
        // A secret that is longer than the searched part, and one with the same beginning.
        let (shorter, longer) = (&long[..600], format!("{}/é/z", &long[..150]));
        let secrets = [shorter, longer.as_str()];
        assert_eq!(presentable(&format!("got {longer}, no"), 200, &secrets[1..]), "got [redacted], no");
        assert_eq!(presentable(&format!("got {shorter}, no"), 200, &secrets[..1]), "got [redacted], no");
        for other in [longer.replace('/', "%2F"), longer.replace('/', "\\/"), longer[..130].to_owned() + "…"]
        {
            assert_eq!(presentable(&format!("got {other}, no"), 200, &secrets), REDACTED);
            assert_eq!(presentable(&format!("got {other}, no"), 200, &secrets[1..]), REDACTED);
        }
        // Secrets around the last character that can be shown, and around the last byte of the searched
        // part.
        for before in (1_170..1_250).chain(9_370..9_430).step_by(3) {
            for secret in ["s3cr3t-and-more", &*"s3cr3t/and/more".repeat(30)] {
                let many = "taken ".repeat(before / 6) + &"x".repeat(before % 6);
                let escaped = secret.replace('/', "%252F");
                for echo in [secret, &*escaped] {
                    let shown = presentable(&format!("{many}{echo}"), 200, &[secret, "taken "]);
                    assert!(!shown.contains("s3c"), "{before}: {shown}");
                }
            }
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
