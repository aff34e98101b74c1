//! Token endpoints that echo the request with other escapes than percent-encoding and base64.

use bytes::Bytes;
use serde_json::json;

use crate::refusals::assert_masked;

#[tokio::test]
async fn inv34_what_is_echoed_escaped_for_html_is_masked() {
    assert_masked(&[
        ("HTML, numbers", |secret| each_char(secret, |c| format!("&#{};", u32::from(c)))),
        ("HTML, hexadecimal", |secret| each_char(secret, |c| format!("&#x{:X};", u32::from(c)))),
        ("HTML, names", |secret| {
            let escaped = secret.replace('&', "&amp;").replace('"', "&quot;").replace('\'', "&#39;");
            escaped.replace('+', "&plus;").replace('ü', "&uuml;").replace('€', "&euro;")
        }),
    ])
    .await;
}

#[tokio::test]
async fn inv34_what_is_echoed_as_bytes_is_masked() {
    assert_masked(&[
        ("hexadecimal", |secret| format!("{:x}", Bytes::copy_from_slice(secret.as_bytes()))),
        ("hexadecimal, upper case", |secret| format!("{:X}", Bytes::copy_from_slice(secret.as_bytes()))),
        ("list of bytes", |secret| format!("{:?}", secret.as_bytes())),
        ("list of hexadecimal bytes", |secret| format!("{:02x?}", secret.as_bytes())),
        ("list of signed bytes", |secret| {
            format!("{:?}", secret.bytes().map(u8::cast_signed).collect::<Vec<_>>())
        }),
    ])
    .await;
}

#[tokio::test]
async fn inv34_what_is_echoed_escaped_by_backslashes_is_masked() {
    assert_masked(&[
        ("braces", |secret| each_char(secret, |c| format!("\\u{{{:x}}}", u32::from(c)))),
        ("four digits", |secret| each_char(secret, |c| format!("\\u{:04X}", u32::from(c)))),
        ("JSON within JSON", |secret| json!(json!(secret).to_string()).to_string()),
    ])
    .await;
}

fn each_char(secret: &str, escaped: fn(char) -> String) -> String {
    secret.chars().map(escaped).collect()
}
