//! Reads the value of a field, and checks that it has the type of the field.

use std::fmt;
use std::time::Duration;

use forge_core::Secret;
use forge_token::AuthMethod;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The type of a field's value.
pub(crate) trait Setting: Sized {
    /// The expected value, for the error message.
    const EXPECTED: &'static str;
    /// Whether the field holds a reference. In the environment, the name of its variable is the reference.
    const IS_REFERENCE: bool = false;
    /// Whether only a configuration file can hold the value, and no environment variable.
    const IS_FILE_ONLY: bool = false;

    /// The value, or `None` if the raw value has another type.
    fn read(value: RawValue) -> Option<Self>;
}

/// The value of a field, or the fact that it is invalid. The error appears when the program uses the service, with the
/// name of the field and without the value. The errors of the formats do not serve: some print the line with the value,
/// and some leave out the name of the field.
#[derive(Clone)]
pub(crate) enum ParsedValue<T> {
    Valid(T),
    Invalid,
}

/// The type name by which a field asks its deserializer for a [reference](Setting::IS_REFERENCE).
pub(crate) const REFERENCE: &str = "$forge-config::Reference";

impl<'de, T: Setting> Deserialize<'de> for ParsedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = if T::IS_REFERENCE {
            deserializer.deserialize_newtype_struct(REFERENCE, RawValueVisitor)?
        } else {
            RawValue::deserialize(deserializer)?
        };
        Ok(T::read(value).map_or(Self::Invalid, Self::Valid))
    }
}

/// A value as a file or a variable has it, before its type is checked.
pub(crate) enum RawValue {
    /// A text. It may be a secret in the wrong field, so no output shows it.
    Text(Secret),
    Whole(u64),
    Fraction(f64),
    Bool(bool),
    List(Vec<RawValue>),
    Table(Vec<(String, RawValue)>),
    Other,
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::Text(text) => Some(text.expose().to_owned()),
            _ => None,
        }
    }
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::Bool(value) => Some(value),
            RawValue::Text(text) => text.expose().parse().ok(),
            _ => None,
        }
    }
}

impl Setting for u32 {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::Whole(number) => number.try_into().ok(),
            RawValue::Text(text) => text.expose().parse().ok(),
            _ => None,
        }
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str =
        "a duration such as \"30s\", \"500ms\", \"2m\" or \"1h\", or a number of seconds";

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::Whole(seconds) => Some(Self::from_secs(seconds)),
            RawValue::Fraction(seconds) => Self::try_from_secs_f64(seconds).ok(),
            RawValue::Text(text) => {
                let text = text.expose().trim();
                let number = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
                let unit = match &text[number.len()..] {
                    "ms" => 0.001,
                    "" | "s" => 1.0,
                    "m" => 60.0,
                    "h" => 3600.0,
                    _ => return None,
                };
                let number: f64 = number.trim_end().parse().ok()?;
                Self::try_from_secs_f64(number * unit).ok()
            }
            _ => None,
        }
    }
}

/// A list. In a variable it is one text with commas.
impl Setting for Vec<String> {
    const EXPECTED: &'static str = "a list of texts";

    fn read(value: RawValue) -> Option<Self> {
        match value {
            RawValue::List(items) => items.into_iter().map(String::read).collect(),
            RawValue::Text(text) => {
                let items = text.expose().split(',').map(str::trim);
                Some(items.filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
            _ => None,
        }
    }
}

/// Names, each with one value.
#[derive(Clone)]
pub(crate) struct Table(pub(crate) Vec<(String, String)>);

impl Setting for Table {
    const EXPECTED: &'static str = "a table of texts";
    const IS_FILE_ONLY: bool = true;

    fn read(value: RawValue) -> Option<Self> {
        let RawValue::Table(entries) = value else { return None };
        let text = |(name, value)| Some((name, String::read(value)?));
        entries.into_iter().map(text).collect::<Option<_>>().map(Self)
    }
}

/// Parameters. Each has a name and one or several values.
#[derive(Clone)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Setting for Params {
    const EXPECTED: &'static str = "a table of texts, or of lists of texts";
    const IS_FILE_ONLY: bool = true;

    fn read(value: RawValue) -> Option<Self> {
        let RawValue::Table(entries) = value else { return None };
        let mut params = Vec::new();
        for (name, value) in entries {
            let values = match value {
                RawValue::List(values) => values,
                value => vec![value],
            };
            for value in values {
                params.push((name.clone(), String::read(value)?));
            }
        }
        Some(Self(params))
    }
}

impl Setting for AuthMethod {
    const EXPECTED: &'static str = "`body`, `header` or `header_raw`";

    fn read(value: RawValue) -> Option<Self> {
        let RawValue::Text(text) = value else { return None };
        match text.expose() {
            "body" => Some(Self::Body),
            "header" => Some(Self::Header),
            "header_raw" => Some(Self::HeaderRaw),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawValueVisitor)
    }
}

struct RawValueVisitor;

impl<'de> Visitor<'de> for RawValueVisitor {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }

    fn visit_str<E>(self, text: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<RawValue, E> {
        Ok(RawValue::Text(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<RawValue, E> {
        Ok(RawValue::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<RawValue, E> {
        Ok(number.try_into().map_or(RawValue::Other, RawValue::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<RawValue, E> {
        Ok(RawValue::Fraction(number))
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(RawValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<RawValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            entries.push((name, access.next_value()?));
        }
        Ok(RawValue::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Setting>(json: &str) -> Option<T> {
        match serde_json::from_str(json).unwrap() {
            ParsedValue::Valid(value) => Some(value),
            ParsedValue::Invalid => None,
        }
    }

    #[test]
    fn durations_have_a_unit_or_are_seconds() {
        for (json, millis) in [
            ("\"30s\"", 30_000),
            ("\"500ms\"", 500),
            ("\"1.5m\"", 90_000),
            ("\" 2 h \"", 7_200_000),
            ("\"30\"", 30_000),
            ("30", 30_000),
            ("2.5", 2_500),
            ("0", 0),
        ] {
            assert_eq!(read(json), Some(Duration::from_millis(millis)), "{json}");
        }
        for json in [
            "\"\"",
            "\"s\"",
            "\"30 sec\"",
            "\"30S\"",
            "\"-1s\"",
            "-1",
            "-0.5",
            "\"1h30m\"",
            "\"1e300h\"",
            "\"NaN\"",
            "\"infs\"",
            "true",
            "[30]",
            "{}",
            "1e300",
            "99999999999999999999",
        ] {
            assert_eq!(read::<Duration>(json), None, "{json}");
        }
    }

    #[test]
    fn texts_of_variables_are_numbers_lists_and_truth_values() {
        assert_eq!((read("\"3\""), read("3"), read::<u32>("\"three\"")), (Some(3), Some(3), None));
        assert_eq!((read::<u32>("-1"), read::<u32>("1.5"), read::<u32>("4294967296")), (None, None, None));
        assert_eq!(
            (read("\"true\""), read("false"), read::<bool>("\"yes\"")),
            (Some(true), Some(false), None)
        );
        let list = Some(vec!["/a".to_owned(), "/b c".to_owned()]);
        assert_eq!((read("[\"/a\", \"/b c\"]"), read("\" /a,/b c ,\"")), (list.clone(), list));
        assert_eq!((read::<Vec<String>>("[1]"), read::<String>("1")), (None, None));
    }

    #[test]
    fn a_parameter_has_one_value_or_several() {
        let params = |json| read::<Params>(json).map(|params| params.0);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let several = Some(vec![pair("a", "1"), pair("b", "2, 3"), pair("b", "4")]);
        assert_eq!(params(r#"{"a": "1", "b": ["2, 3", "4"], "c": []}"#), several);
        for json in
            [r#"{"a": 1}"#, r#"{"a": ["b", 1]}"#, r#"{"a": [["b"]]}"#, r#"{"a": {"b": "c"}}"#, r#""a""#]
        {
            assert_eq!(params(json), None, "{json}");
        }
    }
}
