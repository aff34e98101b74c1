use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::fmt::Write as _;
use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasher, RandomState};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// A secret that no output may show, and all its forms that the tests search for.
pub(crate) struct Canary {
    name: String,
    text: String,
    needles: Vec<(&'static str, String)>,
}

impl Canary {
    /// A secret that every encoding changes.
    pub(crate) fn secret(name: &str) -> Self {
        Self::of(name, &format!("{}/+ %2B:&=\"\\!'(*)~?ü€{}", random(), random()))
    }

    /// A secret of characters that can be in a header.
    pub(crate) fn token(name: &str) -> Self {
        Self::of(name, &format!("{}/+ %2B:&=\"\\!'(*)~?{}", random(), random()))
    }

    /// A secret of characters that can be in any name or number.
    pub(crate) fn alphanumeric(name: &str) -> Self {
        Self::of(name, &random())
    }

    /// A secret with this text, which another program made up.
    pub(crate) fn of(name: &str, text: &str) -> Self {
        let mut needles = forms(text);
        // These parts survive most encodings, also mixed ones: HTML entities around them, an escape or two.
        for core in text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|core| core.len() >= 12) {
            needles.extend(forms(core));
        }
        let mut known = HashSet::new();
        needles.retain(|(_, needle)| known.insert(needle.clone()));
        assert!(!needles.is_empty() && text.len() >= 12, "{name} is too short to be told from other text");
        Self { name: name.to_owned(), text: text.to_owned(), needles }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The form in which this output shows the secret, if it does.
    pub(crate) fn found_in(&self, output: &Output) -> Option<&'static str> {
        let is_there = |needle: &str| output.readings.iter().any(|reading| reading.contains(needle));
        self.needles.iter().find(|(_, needle)| is_there(needle)).map(|(form, _)| *form)
    }
}

impl Display for Canary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn random() -> String {
    let keys = RandomState::new();
    format!("c{:015x}Y", keys.hash_one(0) >> 4)
}

/// All forms that a text may have in an output.
fn forms(text: &str) -> Vec<(&'static str, String)> {
    let quoted = |shown: String| shown.trim_start_matches('b').trim_matches('"').to_owned();
    let bytes = text.as_bytes();
    let mut forms = vec![
        ("plain", text.to_owned()),
        ("escaped", quoted(format!("{text:?}"))),
        ("escaped", quoted(serde_json::Value::from(text).to_string())),
        ("escaped bytes", quoted(format!("{:?}", Bytes::copy_from_slice(bytes)))),
        ("byte list", byte_list(bytes)),
        ("hexadecimal", format!("{:x}", Bytes::copy_from_slice(bytes))),
        ("hexadecimal", format!("{:X}", Bytes::copy_from_slice(bytes))),
    ];
    for encoded in percent_forms(text) {
        forms.push(("percent", lower_hex(&encoded)));
        forms.push(("percent", encoded));
    }
    for shift in 0..3 {
        forms.push(("base64", inner_base64(&STANDARD_NO_PAD, bytes, shift)));
        forms.push(("base64, URL-safe", inner_base64(&URL_SAFE_NO_PAD, bytes, shift)));
    }
    forms
}

fn byte_list(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(",")
}

const UNRESERVED_KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const AS_IN_JAVASCRIPT: &AsciiSet =
    &UNRESERVED_KEPT.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');

/// Four percent-encodings with upper-case digits: of all bytes, of RFC 3986, of `encodeURIComponent`, of a
/// form.
pub(crate) fn percent_forms(text: &str) -> [String; 4] {
    let form = serde_urlencoded::to_string([("", text)]).expect("a form");
    [
        utf8_percent_encode(text, NON_ALPHANUMERIC).to_string(),
        utf8_percent_encode(text, UNRESERVED_KEPT).to_string(),
        utf8_percent_encode(text, AS_IN_JAVASCRIPT).to_string(),
        form.trim_start_matches('=').to_owned(),
    ]
}

pub(crate) fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        let _ = write!(lower, "%{}{rest}", digits.to_ascii_lowercase());
    }
    lower
}

/// The characters of a longer base64 text that depend on these bytes alone, when `shift` bytes (modulo 3)
/// come before them.
fn inner_base64(engine: &impl Engine, bytes: &[u8], shift: usize) -> String {
    let mut shifted = vec![0; shift];
    shifted.extend_from_slice(bytes);
    let encoded = engine.encode(&shifted);
    let known_from = (shift * 8).div_ceil(6);
    let known_to = shifted.len() * 8 / 6;
    encoded[known_from..known_to].to_owned()
}

/// A printed text, in all the readings that the tests search.
pub(crate) struct Output {
    readings: Vec<String>,
}

impl Output {
    pub(crate) fn new(output: impl AsRef<[u8]>) -> Self {
        let raw = String::from_utf8_lossy(output.as_ref()).into_owned();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut readings = vec![
            // `{:#?}` puts each byte of a list on a line of its own.
            raw.split_whitespace().collect(),
            // Some servers write `\/` in JSON.
            raw.replace('\\', ""),
            decoded(&raw),
            decoded(&raw.replace('+', " ")),
            raw,
        ];
        readings.sort_unstable();
        readings.dedup();
        Self { readings }
    }
}

/// The canaries of one test, and the outputs that showed them.
pub(crate) struct Canaries {
    canaries: Vec<Canary>,
    sightings: BTreeMap<String, Vec<String>>,
}

impl Canaries {
    pub(crate) fn new(canaries: impl IntoIterator<Item = Canary>) -> Self {
        Self { canaries: canaries.into_iter().collect(), sightings: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, canary: Canary) {
        self.canaries.push(canary);
    }

    /// Ends the test if a canary is in this output.
    pub(crate) fn assert_silent(mut self, what: &str, output: impl AsRef<[u8]>) {
        self.look_at(what, output);
        self.end();
    }

    /// Looks for all canaries. The [`end`](Self::end) reports the findings.
    pub(crate) fn look_at(&mut self, what: &str, output: impl AsRef<[u8]>) {
        let searched = Output::new(&output);
        for canary in &self.canaries {
            if let Some(form) = canary.found_in(&searched) {
                let shown: String = String::from_utf8_lossy(output.as_ref()).chars().take(300).collect();
                let sighting = format!("{} in the form \"{form}\", in: {shown}", canary.name);
                self.sightings.entry(what.to_owned()).or_default().push(sighting);
            }
        }
    }

    pub(crate) fn look_at_debug(&mut self, what: &str, value: &impl Debug) {
        self.look_at(what, debug(value));
    }

    /// `Display` and `Debug` of an error and of each of its causes.
    pub(crate) fn look_at_error(&mut self, what: &str, error: &(dyn Error + 'static)) {
        let mut link = Some(error);
        while let Some(error) = link {
            self.look_at(what, format!("{error}\n{error:?}\n{error:#?}"));
            // The error inside an `io::Error` is not its source.
            let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            link = wrapped.map_or_else(|| error.source(), |wrapped| Some(wrapped));
        }
    }

    /// Ends the test if an output showed a canary.
    pub(crate) fn end(self) {
        let mut report = String::new();
        for (what, sightings) in &self.sightings {
            let _ =
                writeln!(report, "\n{what}: {} sightings, the first:\n  {}", sightings.len(), sightings[0]);
        }
        assert!(report.is_empty(), "secrets were shown:\n{report}");
    }
}

/// Both forms of `Debug`.
pub(crate) fn debug(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}\n")
}

/// These tests prove that the search finds what it should find.
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use requestforge::{AuthenticationError, AuthenticationErrorKind};

    use super::*;

    fn is_found(canary: &Canary, output: impl AsRef<[u8]>) -> bool {
        canary.found_in(&Output::new(output)).is_some()
    }

    fn canaries() -> [Canary; 4] {
        [
            Canary::secret("secret"),
            Canary::token("token"),
            Canary::alphanumeric("word"),
            Canary::of("short", "no core: \"ü\" + a / b?"),
        ]
    }

    #[test]
    fn a_canary_is_found_in_plain_and_in_other_words() {
        for canary in canaries() {
            let text = canary.text();
            assert!(is_found(&canary, text));
            assert!(is_found(&canary, format!("x{text}x")));
            assert!(is_found(&canary, format!("{:?}", format!("x{text}x"))));
            assert!(is_found(&canary, format!("{:?}", Some(serde_json::json!({ "a": [text] })))));
            assert!(is_found(&canary, serde_json::json!({ "a": [text] }).to_string()));
            assert!(!is_found(&canary, Canary::secret("other").text()));
            assert!(!is_found(&canary, ""));
        }
        let canary = Canary::secret("cut");
        assert!(is_found(&canary, canary.text().replace(['"', '&', '\\'], "&quot;")), "by half of it");
    }

    #[test]
    fn a_canary_is_found_in_base64_at_all_alignments() {
        for canary in canaries() {
            for before in ["", "i", "id", "id:", "client:"] {
                for after in ["", ":", "::", ":::"] {
                    let longer = format!("{before}{}{after}", canary.text());
                    let standard = STANDARD.encode(&longer);
                    let json = standard.replace('/', "\\/");
                    let percent = percent_forms(&standard).concat();
                    for encoded in [STANDARD.encode(&longer), URL_SAFE.encode(&longer), json, percent] {
                        assert!(is_found(&canary, format!("Basic {encoded}.")), "{longer} {encoded}");
                    }
                }
            }
            assert!(!is_found(&canary, STANDARD.encode(Canary::secret("other").text())));
        }
    }

    #[test]
    fn a_canary_is_found_percent_encoded() {
        for canary in canaries() {
            for encoded in percent_forms(canary.text()) {
                assert!(is_found(&canary, format!("a=b&c={encoded}&d=e")), "{encoded}");
                assert!(is_found(&canary, format!("a=b&c={}&d=e", lower_hex(&encoded))), "{encoded}");
            }
        }
        let whole = Canary::of("no core", "a b/c+d ü e:f;g h i");
        let mixed = "a%20b%2Fc%2bd+%c3%BC+e%3af;g%20h+i";
        assert!(is_found(&whole, mixed), "whatever is encoded of it, and however");
        assert!(!is_found(&whole, "a%20b%2Fc%2bd+%c3%BC"));
    }

    #[test]
    fn a_canary_is_found_in_lists_of_bytes() {
        for canary in canaries() {
            let bytes = format!("x{}x", canary.text()).into_bytes();
            assert!(is_found(&canary, format!("{bytes:?}")));
            assert!(is_found(&canary, format!("{bytes:#?}")));
            let bytes = Bytes::from(bytes);
            assert!(is_found(&canary, format!("{bytes:?}")));
            assert!(is_found(&canary, format!("{bytes:x}")) && is_found(&canary, format!("{bytes:X}")));
            let header = http::HeaderValue::from_maybe_shared(bytes).expect("a header");
            assert!(is_found(&canary, format!("{header:?}")));
        }
    }

    #[test]
    fn a_canary_is_found_down_in_the_causes() {
        let canary = Canary::secret("cause");
        let text = canary.text().to_owned();
        let mut canaries = Canaries::new([canary]);
        canaries.look_at_error("clean", &std::io::Error::other("clean"));
        assert!(canaries.sightings.is_empty());
        let cause = std::io::Error::other(std::io::Error::other(text));
        let error = AuthenticationError::new("clean", AuthenticationErrorKind::Other).with_source(cause);
        canaries.look_at_error("deep", &error);
        // Once for each link, because `Debug` also shows the links below.
        assert_eq!(canaries.sightings["deep"].len(), 4);
    }

    #[test]
    #[should_panic(expected = "secrets were shown")]
    fn what_was_found_ends_the_test() {
        let canary = Canary::secret("shown");
        let text = canary.text().to_owned();
        Canaries::new([canary]).assert_silent("this", text);
    }
}
