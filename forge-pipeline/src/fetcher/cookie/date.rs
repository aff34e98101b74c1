use chrono::{DateTime, NaiveDate, Utc};

/// Parses the date of a cookie by the lenient algorithm of RFC 6265 5.1.1. The algorithm accepts the dates of HTTP and
/// their many variants. `None` if the text is no such date.
pub(super) fn parse(text: &[u8]) -> Option<DateTime<Utc>> {
    let mut date = Date::default();
    for token in text.split(|byte| is_delimiter(*byte)).filter(|token| !token.is_empty()) {
        date.take(token);
    }
    date.moment()
}

/// The parts of a date found so far. The first token that fits a part sets it.
#[derive(Default)]
struct Date {
    time: Option<[u32; 3]>,
    day: Option<u32>,
    month: Option<u32>,
    year: Option<i32>,
}

impl Date {
    fn take(&mut self, token: &[u8]) {
        if self.time.is_none()
            && let Some(time) = time(token)
        {
            self.time = Some(time);
        } else if self.day.is_none()
            && let Some(day) = digits(token, 1, 2)
        {
            self.day = Some(day);
        } else if self.month.is_none()
            && let Some(month) = month(token)
        {
            self.month = Some(month);
        } else if self.year.is_none()
            && let Some(year) = digits(token, 2, 4)
        {
            self.year = i32::try_from(year).ok();
        }
    }

    fn moment(&self) -> Option<DateTime<Utc>> {
        let year = match self.year? {
            year @ 70..=99 => year + 1900,
            year @ 0..=69 => year + 2000,
            year => year,
        };
        let [hour, minute, second] = self.time?;
        // RFC 6265 5.1.1 refuses years before 1601, and dates that do not exist.
        let date = NaiveDate::from_ymd_opt(year, self.month?, self.day?).filter(|_| year >= 1601)?;
        Some(date.and_hms_opt(hour, minute, second)?.and_utc())
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// Three numbers of one or two digits with colons between them. Other characters may follow.
fn time(token: &[u8]) -> Option<[u32; 3]> {
    let mut parts = token.splitn(3, |byte| *byte == b':');
    let mut whole = || digits(parts.next()?, 1, 2);
    Some([whole()?, whole()?, whole()?])
}

fn month(token: &[u8]) -> Option<u32> {
    const MONTHS: [&[u8]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let name = token.get(..3)?.to_ascii_lowercase();
    (1..).zip(MONTHS).find(|(_, month)| *month == name).map(|(number, _)| number)
}

/// The number at the beginning of a token, if it has between `least` and `most` digits.
fn digits(token: &[u8], least: usize, most: usize) -> Option<u32> {
    let length = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&token[..length]).ok().filter(|_| (least..=most).contains(&length))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_and_their_variants() {
        for (text, rfc_3339) in [
            ("Mon, 01 Jan 2024 00:00:30 GMT", "2024-01-01T00:00:30Z"),
            ("Monday, 01-Jan-24 00:00:30 GMT", "2024-01-01T00:00:30Z"),
            ("Mon Jan  1 00:00:30 2024", "2024-01-01T00:00:30Z"),
            ("Mon, 1-Jan-2024 0:0:30 UTC", "2024-01-01T00:00:30Z"),
            ("2024 january 01 00:00:30", "2024-01-01T00:00:30Z"),
            ("01 Jan 70 00:00:30", "1970-01-01T00:00:30Z"),
            ("01 Jan 69 00:00:30", "2069-01-01T00:00:30Z"),
            ("29 Feb 2024 23:59:59", "2024-02-29T23:59:59Z"),
        ] {
            let expected = DateTime::parse_from_rfc3339(rfc_3339).unwrap().to_utc();
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_date_is_none() {
        for text in [
            "",
            "later",
            "01 Jan 2024",
            "01 Jan 00:00:30",
            "Jan 2024 00:00:30",
            "01 2024 00:00:30",
            "01 Jan 1600 00:00:30",
            "01 Jan 2024 24:00:00",
            "01 Jan 2024 00:60:00",
            "01 Jan 2024 00:00:60",
            "01 Jan 2024 00:00",
            "30 Feb 2024 00:00:30",
            "32 Jan 2024 00:00:30",
            "00 Jan 2024 00:00:30",
            "01 J\u{e9}n 2024 00:00:30",
            "01 Jan 20240 00:00:30",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
