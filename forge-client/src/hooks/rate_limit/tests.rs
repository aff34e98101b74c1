use std::time::UNIX_EPOCH;

use http::{HeaderName, HeaderValue};

use super::*;

/// 2026-01-01, 00:00:00 UTC.
const NOW: u64 = 1_767_225_600;

fn read(headers: &[(&'static str, &'static str)]) -> Option<RateLimit> {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    RateLimit::from_headers(&map, now)
}

/// Limit, remaining, milliseconds to the reset, and milliseconds to the next request that the server allows.
type Limits = (Option<u64>, Option<u64>, Option<u128>, Option<u128>);

#[test]
fn every_form_of_the_headers_is_understood() {
    let table: &[(&[(&str, &str)], Limits)] = &[
        // The draft's structured fields.
        (&[("ratelimit", "\"default\";r=50;t=30")], (None, Some(50), Some(30_000), None)),
        (
            &[("ratelimit-policy", "\"default\";q=100;w=60"), ("ratelimit", "\"default\";r=50;t=30")],
            (Some(100), Some(50), Some(30_000), None),
        ),
        (
            &[
                ("ratelimit-policy", "\"burst\";q=100;w=60,\"daily\";q=1000;w=86400"),
                ("ratelimit", "\"burst\";r=3;t=10, \"daily\";r=900;t=36000"),
            ],
            (Some(100), Some(3), Some(10_000), None),
        ),
        // Two fields. The second one is the tightest, and its name contains the separators.
        (
            &[
                ("ratelimit", "\"burst\";r=9"),
                ("ratelimit", "\"a, b; c=\\\"d\";r=0;t=7;pk=:cHsdsRa894==:"),
                ("ratelimit-policy", "\"a, b; c=\\\"d\";q=5"),
            ],
            (Some(5), Some(0), Some(7_000), None),
        ),
        // As little is left in both limits, so the one that lasts longer counts.
        (&[("ratelimit", "\"a\";r=0;t=1, \"b\";r=0;t=9")], (None, Some(0), Some(9_000), None)),
        // Its older drafts.
        (&[("ratelimit", "limit=100, remaining=50, reset=5")], (Some(100), Some(50), Some(5_000), None)),
        (
            &[("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "7")],
            (Some(100), Some(0), Some(7_000), None),
        ),
        // Many APIs send these headers.
        (
            &[
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", "59"),
                ("x-ratelimit-reset", "1767225630"),
            ],
            (Some(60), Some(59), Some(30_000), None),
        ),
        (
            &[
                ("x-rate-limit-limit", "15"),
                ("x-rate-limit-remaining", "14"),
                ("x-rate-limit-reset", "1767225601"),
            ],
            (Some(15), Some(14), Some(1_000), None),
        ),
        (&[("x-ratelimit-reset", "1767225600250")], (None, None, Some(250), None)),
        (
            &[("x-ratelimit-reset", "1767225699.5"), ("x-ratelimit-reset-after", "1.5")],
            (None, None, Some(1_500), None),
        ),
        (&[("x-ratelimit-reset", "30")], (None, None, Some(30_000), None)),
        (&[("x-ratelimit-reset", "Thu, 01 Jan 2026 00:01:00 GMT")], (None, None, Some(60_000), None)),
        (&[("x-ratelimit-remaining", "98.7")], (None, Some(98), None, None)),
        (&[("x-ratelimit-reset", "1000000000")], (None, None, Some(0), None)),
        // Retry-After.
        (&[("retry-after", "120")], (None, None, None, Some(120_000))),
        (&[("retry-after", "Thu, 01 Jan 2026 00:00:10 GMT")], (None, None, None, Some(10_000))),
        (&[("retry-after", "Thu, 01 Jan 2015 00:00:00 GMT")], (None, None, None, Some(0))),
        // The server's clock is an hour ahead, and times count by it.
        (
            &[
                ("date", "Thu, 01 Jan 2026 01:00:00 GMT"),
                ("x-ratelimit-reset", "1767229205"),
                ("retry-after", "Thu, 01 Jan 2026 01:00:06 GMT"),
            ],
            (None, None, Some(5_000), Some(6_000)),
        ),
        // The newer form counts. The older one supplies the missing values.
        (
            &[("ratelimit", "\"default\";r=1"), ("x-ratelimit-remaining", "2"), ("x-ratelimit-limit", "3")],
            (Some(3), Some(1), None, None),
        ),
    ];
    for (headers, expected) in table {
        let read = read(headers).unwrap_or_else(|| panic!("nothing read from {headers:?}"));
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        let said = (read.limit(), read.remaining(), millis(read.reset_after()), millis(read.retry_after()));
        assert_eq!(said, *expected, "{headers:?}");
    }
}

#[test]
fn what_makes_no_sense_counts_as_not_said() {
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("ratelimit", "")],
        &[("ratelimit", "\"default\"")],
        &[("ratelimit", "\"unterminated;r=1")],
        &[("ratelimit", "\"default\";r=-1;t=x")],
        &[("ratelimit-policy", "\"default\";q=100")],
        &[("x-ratelimit-limit", "unlimited")],
        &[("x-ratelimit-remaining", "-1")],
        &[("x-ratelimit-remaining", "1e3")],
        &[("x-ratelimit-remaining", "99999999999999999999999999")],
        &[("x-ratelimit-reset", "inf")],
        &[("x-ratelimit-reset", "NaN")],
        &[("x-ratelimit-reset", "1.2.3")],
        &[("x-ratelimit-reset", "99999999999999999999999999999999999")],
        &[("x-ratelimit-reset-after", "")],
        &[("retry-after", "soon")],
        &[("retry-after", "-5")],
    ] {
        assert_eq!(read(headers), None, "{headers:?}");
    }
}

#[test]
fn each_answer_says_it_anew() {
    use http::{Extensions, Method, StatusCode};
    let mut extensions = Extensions::new();
    let mut after = |headers: &HeaderMap| {
        let mut response = ReceivedResponse {
            method: &Method::GET,
            url: &url::Url::parse("https://a.example").unwrap().into(),
            status: StatusCode::OK,
            headers,
            attempt: 1,
            elapsed: Duration::ZERO,
            extensions: &mut extensions,
        };
        RateLimitReader.after_response(&mut response).unwrap();
        extensions.get::<RateLimit>().and_then(RateLimit::remaining)
    };
    let told = [(HeaderName::from_static("x-ratelimit-remaining"), HeaderValue::from_static("9"))];
    assert_eq!(after(&told.into_iter().collect()), Some(9));
    assert_eq!(after(&HeaderMap::new()), None);
}
