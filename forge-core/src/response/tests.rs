use serde_json::json;

use super::*;

fn parse(answer: &Value) -> Result<TokenData, InvalidTokenResponse> {
    TokenData::from_response_at(answer, &ResponseFields::default(), DateTime::UNIX_EPOCH)
}

#[test]
fn a_full_answer_is_read_field_by_field() {
    let token = parse(&json!({
        "access_token": "abc", "token_type": "bearer", "expires_in": 3600,
        "refresh_token": "r", "scope": "read write", "id_token": "x",
    }))
    .unwrap();
    assert_eq!(token.authorization_header(), "Bearer abc");
    assert_eq!(token.expires_at().unwrap().timestamp(), 3600);
    assert_eq!(token.issued_at(), Some(DateTime::UNIX_EPOCH));
    assert_eq!((token.refresh_token(), token.scope()), (Some("r"), Some("read write")));
    assert_eq!(token.extra().keys().collect::<Vec<_>>(), ["id_token"]);
}

#[test]
fn bearer_is_written_in_one_way_and_other_types_stay() {
    for (sent, read) in [
        ("Bearer", "Bearer"),
        ("BEARER", "Bearer"),
        ("BearerToken", "Bearer"),
        ("", "Bearer"),
        ("mac", "mac"),
        ("DPoP", "DPoP"),
    ] {
        let token = parse(&json!({"access_token": "a", "token_type": sent})).unwrap();
        assert_eq!(token.token_type(), read);
    }
}

#[test]
fn expires_in_comes_in_many_forms() {
    let expiry =
        |value: Value| parse(&json!({"access_token": "a", "expires_in": value})).map(|t| t.expires_at());
    for (value, millis) in [
        (json!(60), 60_000),
        (json!("60"), 60_000),
        (json!(1e3), 1_000_000),
        (json!(0.5), 500),
        (json!(" 7 "), 7_000),
    ] {
        assert_eq!(expiry(value.clone()).unwrap().unwrap().timestamp_millis(), millis, "{value}");
    }
    assert_eq!(expiry(Value::Null), Ok(None));
    for value in [
        json!(-1),
        json!(0),
        json!(i64::MAX),
        json!(u64::MAX),
        json!("soon"),
        json!("NaN"),
        json!("inf"),
        json!("-inf"),
        json!(""),
        json!([60]),
        json!(true),
        json!(1e300),
        json!(1e-9),
    ] {
        assert_eq!(expiry(value.clone()).unwrap_err().field(), "expires_in", "{value}");
    }
}

#[test]
fn a_wrong_field_is_named_and_its_value_is_not_echoed() {
    for (field, answer) in [
        ("access_token", json!({})),
        ("access_token", json!({"access_token": null})),
        ("access_token", json!({"access_token": ""})),
        ("access_token", json!({"access_token": 12345})),
        ("access_token", json!({"access_token": "canary\r\nX-Evil: 1"})),
        ("access_token", json!({"access_token": "canaryé"})),
        ("token_type", json!({"access_token": "a", "token_type": ["canary"]})),
        ("token_type", json!({"access_token": "a", "token_type": "canary\n"})),
        ("refresh_token", json!({"access_token": "a", "refresh_token": ["canary"]})),
        ("scope", json!({"access_token": "a", "scope": ["canary", 1]})),
        ("(the whole response)", json!(["canary"])),
    ] {
        let error = parse(&answer).unwrap_err();
        assert_eq!(error.field(), field);
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[test]
fn fields_may_lie_deeper_and_are_not_kept_twice() {
    let fields = ResponseFields::default()
        .with_access_token("/data/token")
        .with_expires_in("/data/life/seconds")
        .with_refresh_token("/a~1b")
        .with_default_token_type("Token");
    let answer = json!({"data": {"token": "abc", "life": {"seconds": 60}, "tenant": 7}, "a/b": "r"});
    let token = TokenData::from_response_at(&answer, &fields, DateTime::UNIX_EPOCH).unwrap();
    assert_eq!((token.access_token(), token.token_type()), ("abc", "Token"));
    assert_eq!((token.refresh_token(), token.expires_at().unwrap().timestamp()), (Some("r"), 60));
    assert_eq!(Value::from(token.extra().clone()), json!({"data": {"life": {}, "tenant": 7}}));

    let in_lists = fields.with_access_token("/tokens/1").with_refresh_token("/tokens/0/r");
    let answer = json!({"tokens": [{"r": "refresh"}, "abc", "more"]});
    let token = TokenData::from_response_at(&answer, &in_lists, DateTime::UNIX_EPOCH).unwrap();
    assert_eq!((token.access_token(), token.refresh_token()), ("abc", Some("refresh")));
    assert_eq!(Value::from(token.extra().clone()), json!({"tokens": [{}, null, "more"]}));
    let fields = ResponseFields::default().with_access_token("/data/token");

    let error = TokenData::from_response_at(&json!({"data": []}), &fields, DateTime::UNIX_EPOCH).unwrap_err();
    assert_eq!(error.field(), "/data/token");
}

#[test]
fn an_expiry_may_be_a_moment() {
    let expiry = |format, value: &Value| {
        let fields = ResponseFields::default().with_expires_at("until", format);
        let answer = json!({"access_token": "a", "expires_in": "soon", "until": value});
        TokenData::from_response_at(&answer, &fields, DateTime::UNIX_EPOCH).map(|token| token.expires_at())
    };
    let good = [
        (TimeFormat::Rfc3339, json!("1970-01-01T01:00:00Z"), 3_600_000),
        (TimeFormat::Rfc3339, json!(" 1970-01-01T02:00:00.5+01:00"), 3_600_500),
        (TimeFormat::UnixSeconds, json!(3_600), 3_600_000),
        (TimeFormat::UnixSeconds, json!("3600.5"), 3_600_500),
    ];
    for (format, value, millis) in good {
        assert_eq!(expiry(format, &value).unwrap().unwrap().timestamp_millis(), millis, "{value}");
        assert_eq!(expiry(format, &Value::Null), Ok(None));
    }
    let wrong = [
        (TimeFormat::Rfc3339, json!("tomorrow")),
        (TimeFormat::Rfc3339, json!(3_600)),
        (TimeFormat::Rfc3339, json!("1969-01-01T00:00:00Z")),
        (TimeFormat::Rfc3339, json!("2999-01-01T00:00:00Z")),
        (TimeFormat::UnixSeconds, json!("1970-01-01T01:00:00Z")),
        (TimeFormat::UnixSeconds, json!(0)),
        (TimeFormat::UnixSeconds, json!(-1)),
        (TimeFormat::UnixSeconds, json!(1e300)),
        (TimeFormat::UnixSeconds, json!(4e9)),
        (TimeFormat::UnixSeconds, json!("NaN")),
        (TimeFormat::UnixSeconds, json!([1])),
    ];
    for (format, value) in wrong {
        assert_eq!(expiry(format, &value).unwrap_err().field(), "until", "{value}");
    }
}

#[test]
fn a_list_of_scopes_is_joined() {
    let token = parse(&json!({"access_token": "a", "scope": ["read", "write"]})).unwrap();
    assert_eq!(token.scope(), Some("read write"));
}
