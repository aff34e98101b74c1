use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// The delay that a server asks for in `Retry-After`: a number of seconds, or the time until a date (RFC 9110 10.2.3). A
/// date in the past gives zero. `None` if the header is missing or is neither of both.
///
/// A date counts by the server's own clock, if the response states its time in `Date`, else by `now`.
///
/// The delay may be very long. The caller decides how long it waits at most.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use requestforge::http::{HeaderMap, HeaderValue, header::RETRY_AFTER};
/// use requestforge::retry::retry_after;
///
/// let mut headers = HeaderMap::new();
/// headers.insert(RETRY_AFTER, HeaderValue::from_static("120"));
/// assert_eq!(retry_after(&headers, SystemTime::now()), Some(Duration::from_secs(120)));
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows means a long delay, not none.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    Some(until.duration_since(date.unwrap_or(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn seconds_dates_and_nothing_else() {
        // Mon, 01 Jan 2024 00:00:00 GMT
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200);
        for (value, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("1000000000", Some(1_000_000_000)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("Mon, 01 Jan 2024 00:01:00 GMT", Some(60)),
            ("Monday, 01-Jan-24 00:01:00 GMT", Some(60)),
            ("Sun, 31 Dec 2023 23:00:00 GMT", Some(0)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799 - 1_704_067_200)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e9", None),
            ("1, 2", None),
            ("soon", None),
            ("Mon, 01 Jan 2024 00:01:00 CET", None),
        ] {
            let headers: HeaderMap = [(RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
        let odd: HeaderMap =
            [(RETRY_AFTER, HeaderValue::from_bytes(b"\xff1").unwrap())].into_iter().collect();
        assert_eq!(retry_after(&odd, now), None);
    }

    #[test]
    fn dates_are_compared_with_the_servers_own() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Mon, 01 Jan 2024 00:01:00 GMT"));
        for (date, seconds) in [
            ("Mon, 01 Jan 2024 00:00:30 GMT", 30),
            ("Mon, 01 Jan 2024 00:02:00 GMT", 0),
            ("no date", 1_704_067_260),
        ] {
            headers.insert(DATE, HeaderValue::from_static(date));
            let asked = retry_after(&headers, SystemTime::UNIX_EPOCH);
            assert_eq!(asked, Some(Duration::from_secs(seconds)), "{date}");
        }
    }
}
