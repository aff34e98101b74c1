use reqwest::Request;

use super::*;
use crate::body::BodyContent;
use crate::origin::Origin;

fn trust() -> Trust {
    Trust {
        origins: vec![Origin::of(&url())],
        sensitive_names: vec![HeaderName::from_static("x-odd")],
        public_names: ["iban", "link", "x-echo", "x-next", "x-odd"].map(HeaderName::from_static).into(),
    }
}

fn url() -> Url {
    Url::parse("https://a.example/users").unwrap()
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// The mask of a request with these headers.
fn mask(sent: &[(&'static str, &'static str)]) -> Mask {
    mask_of("https://a.example", sent, "")
}

fn mask_of(url: &str, sent: &[(&'static str, &'static str)], body: &'static str) -> Mask {
    let mut request = Request::new(http::Method::POST, Url::parse(url).unwrap());
    *request.headers_mut() = headers(sent);
    *request.body_mut() = Some(body.into());
    Mask::of(&RequestContent::of(&request), &trust(), ["iban", "X-My_Own"].map(normalized).into(), None)
}

fn json(mask: &Mask, body: &str) -> String {
    mask.body(Some(&HeaderValue::from_static("application/json; charset=utf-8")), body.as_bytes(), 1_000)
}

#[test]
fn inv16_headers_are_masked_unless_they_are_public_by_mark_and_by_value() {
    let mask = mask(&[("authorization", "Bearer canary")]);
    let shown =
        |name: &'static str, value: &'static str| mask.headers(&headers(&[(name, value)]), &url(), &trust());
    for name in [
        "authorization",
        "x-api-key",
        "cookie",
        "set-cookie",
        "x-odd",
        "iban",
        "x-my-own",
        "www-authenticate",
        "x-otp",
        "x-sid",
        "x-sig",
        // A credential whose name is in no list of credentials.
        "api-sign",
        "cb-access-sign",
        "cst",
        "jenkins-crumb",
        "refresh",
        "x-forwarded-client-cert",
        "x-jfrog-art-api",
        "x-monkey",
    ] {
        assert_eq!(shown(name, "some value"), format!("{name}: ***"));
    }
    for name in [
        "accept",
        "accept-ranges",
        "content-type",
        "date",
        "etag",
        "host",
        "retry-after",
        "user-agent",
        "x-ratelimit-remaining",
        "x-request-id",
    ] {
        assert_eq!(shown(name, "some value"), format!("{name}: \"some value\""));
    }
    assert_eq!(shown("x-echo", "you sent Bearer canary"), "x-echo: \"***\"");
    assert_eq!(shown("x-echo", "you sent canary"), "x-echo: \"***\"");
    assert_eq!(shown("location", "/next?code=1#2"), "location: \"https://a.example/next\"");
    assert_eq!(shown("location", "https://u:p@b.example/x?y"), "location: \"https://b.example/x\"");
    assert_eq!(shown("location", "http://["), "location: ***");
    assert_eq!(shown("x-next", "https://u:p@b.example/x?y"), "x-next: \"https://b.example/x\"");
    assert_eq!(shown("x-next", "/a?access_token=p"), "x-next: \"/a\"");
    assert_eq!(shown("link", "</x?token=1>; rel=next"), "link: \"</x>; rel=next\"");
    let mut marked = HeaderValue::from_static("some value");
    marked.set_sensitive(true);
    for name in ["accept", "date", "x-echo"] {
        let marked = [(HeaderName::from_static(name), marked.clone())].into_iter().collect();
        assert_eq!(mask.headers(&marked, &url(), &trust()), format!("{name}: ***"));
    }
    let two = headers(&[("accept", "a"), ("te", "b")]);
    assert_eq!(mask.headers(&two, &url(), &trust()), "accept: \"a\", te: \"b\"");
}

#[test]
fn inv16_json_is_masked_by_name_and_by_value() {
    let mask = mask(&[("authorization", "Basic dXNlcjpjYW5hcnk="), ("cookie", "jar=a-crumb")]);
    for (body, shown) in [
        (r#"{"name":"x","n":1,"on":true,"no":null}"#, r#"{"n":1,"name":"x","no":null,"on":true}"#),
        (r#"{"password":"p"}"#, r#"{"password":"***"}"#),
        (
            r#"{"SAMLResponse":"p","dsn":"p","recovery_codes":["p"]}"#,
            r#"{"SAMLResponse":"***","dsn":"***","recovery_codes":"***"}"#,
        ),
        (r#"{"accessToken":{"value":["p"]},"pin":1234}"#, r#"{"accessToken":"***","pin":"***"}"#),
        (
            r#"{"a":[{"client-secret":"p","b":"x"}],"IBAN":1}"#,
            r#"{"IBAN":"***","a":[{"b":"x","client-secret":"***"}]}"#,
        ),
        // An authorization code, and fields that only have a similar name.
        (
            r#"{"code":"p","code_verifier":"p","postcode":"x"}"#,
            r#"{"code":"***","code_verifier":"***","postcode":"x"}"#,
        ),
        // Values without a name.
        (r#""p""#, r#""***""#),
        (r#"["p",1,{"a":["x"]}]"#, r#"["***","***",{"a":["x"]}]"#),
        // An echoed secret: as the client sent it, without its scheme, and decoded; in a value and in a
        // name.
        (r#"{"a":"Basic dXNlcjpjYW5hcnk="}"#, r#"{"a":"***"}"#),
        (r#"{"a":["dXNlcjpjYW5hcnk="]}"#, r#"{"a":["***"]}"#),
        (r#"{"a":"the password can\u0061ry"}"#, r#"{"a":"***"}"#),
        (r#"{"jar=a-crumb":"x"}"#, r#"{"***":"x"}"#),
        // URLs.
        (r#"{"a":"https://u:p@b.example/x?sig=p#p"}"#, r#"{"a":"https://b.example/x"}"#),
        (r#"{"next":"/a?access_token=p","b":"at /a?p=p"}"#, r#"{"b":"at /a","next":"/a"}"#),
        // Names that are values.
        (
            r#"{"a":[{"name":"password","value":"p","at":1},{"name":"x","value":"y"}]}"#,
            r#"{"a":[{"at":1,"name":"password","value":"***"},{"name":"x","value":"y"}]}"#,
        ),
        (r#"[{"Key":"api-key","Value":["p"]}]"#, r#"[{"Key":"***","Value":"***"}]"#),
        // JSON within JSON, but not deeper.
        (r#"{"a":" {\"pin\":1,\"b\":[\"x\"]}"}"#, r#"{"a":"{\"b\":[\"x\"],\"pin\":\"***\"}"}"#),
        (r#"{"a":"[\"[1]\"]"}"#, r#"{"a":"[\"***\"]"}"#),
        (r#"{"a":"[not JSON]"}"#, r#"{"a":"[not JSON]"}"#),
        // The `state` of OAuth, and the `state` of other objects.
        (r#"{"state":"x","redirect_uri":"/x"}"#, r#"{"redirect_uri":"/x","state":"***"}"#),
        (r#"{"state":"open"}"#, r#"{"state":"open"}"#),
    ] {
        assert_eq!(json(&mask, body), shown, "{body}");
    }
}

#[test]
fn inv16_forms_are_masked_by_name_and_by_value() {
    let mask = mask(&[("x-api-key", "c+n ry")]);
    let form = |body: &str| {
        mask.body(
            Some(&HeaderValue::from_static("application/x-www-form-urlencoded")),
            body.as_bytes(),
            1_000,
        )
    };
    for (body, shown) in [
        ("a=x&b=y+z", "a=x&b=y+z"),
        (
            "grant_type=password&password=p&user%5Bpassword%5D=p",
            "grant_type=password&password=***&user%5Bpassword%5D=***",
        ),
        ("a=c%2Bn+ry", "a=***"),
        ("state=x&response_type=y", "state=***&response_type=y"),
        ("a=%7B%22pin%22%3A1%7D", "a=%7B%22pin%22%3A%22***%22%7D"),
        ("c%2Bn+ry", "***"),
        ("", ""),
    ] {
        assert_eq!(form(body), shown, "{body}");
    }
}

#[test]
fn inv16_what_has_no_names_is_not_shown() {
    let mask = mask(&[]);
    let shown = |content_type: Option<&'static str>, body: &str, max| {
        mask.body(content_type.map(HeaderValue::from_static).as_ref(), body.as_bytes(), max)
    };
    for (content_type, body) in [
        (None, "{\"a\":1}"),
        (Some("text/plain"), "canary!"),
        (Some("text/html"), "canary!"),
        (Some("multipart/form-data; boundary=canary"), "canary!"),
        (Some("application/json"), "canary!"),
        (Some("application/json"), "{\"a\":1"),
        (Some("application/jsonp"), "canary!"),
    ] {
        assert_eq!(shown(content_type, body, 1_000), format!("{} bytes", body.len()), "{content_type:?}");
    }
    assert_eq!(shown(Some("application/problem+json"), "{\"a\":1}", 7), "{\"a\":1}");
    assert_eq!(shown(Some("application/problem+json"), "{\"a\":1}", 6), "7 bytes");
}

#[test]
fn inv16_what_a_request_hides_in_its_query_and_its_body_is_masked_where_it_is_echoed() {
    let sent = [("content-type", "application/json")];
    let in_json = r#"{"user":{"password":"c\u0061nary-1"},"a":"harmless","secret":[{"x":12345678}]}"#;
    let mask = mask_of("https://a.example/x?token=canary%2D2&page=seventy&sig=canary-3", &sent, in_json);
    for (body, shown) in [
        (r#"{"input":"canary-1 is too short"}"#, r#"{"input":"***"}"#),
        (r#"{"input":12345678}"#, r#"{"input":"***"}"#),
        (r#"{"url":"/x?token=canary%2D2","value":"canary-2"}"#, r#"{"url":"***","value":"***"}"#),
        (r#"{"x":["canary-3"]}"#, r#"{"x":["***"]}"#),
        (r#"{"a":"harmless","page":"seventy"}"#, r#"{"a":"harmless","page":"seventy"}"#),
    ] {
        assert_eq!(json(&mask, body), shown, "{body}");
    }
    let sent = [("content-type", "application/x-www-form-urlencoded")];
    let mask = mask_of("https://a.example", &sent, "client_secret=canary+1&a=harmless");
    assert_eq!(json(&mask, r#"{"x":"canary 1","y":"harmless"}"#), r#"{"x":"***","y":"harmless"}"#);
}

#[test]
fn what_is_short_is_not_searched_for() {
    let mask = mask(&[("authorization", "Bearer a"), ("cookie", "b")]);
    assert_eq!(json(&mask, r#"{"x":"a b c"}"#), r#"{"x":"a b c"}"#);
    assert_eq!(json(&mask, r#"{"x":"Bearer a"}"#), r#"{"x":"***"}"#);
}

#[test]
fn inv16_a_part_of_a_credential_is_masked_where_it_is_echoed() {
    for (name, value) in [
        ("cookie", "theme=dark; session=a-canary; b=2"),
        ("cookie", "session=\"a-canary\""),
        ("cookie", "session=a%2Dcanary;theme=dark"),
        ("cookie", "theme=\"dark; session=a-canary"),
        ("authorization", "Token token=a-canary"),
        (
            "authorization",
            "Digest username=\"ada\", realm=\"somewhere\", uri=\"/users\", response=\"a-canary\"",
        ),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x/y/s3, SignedHeaders=host;date, Signature=a-canary"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=x/y/s3,Signature=a-canary"),
        ("x-api-key", "id=1,key=a-canary"),
    ] {
        let mask = mask(&[(name, value)]);
        let body = r#"{"x":"you are a-canary","y":"light","z":["/users","somewhere"]}"#;
        let shown = r#"{"x":"***","y":"light","z":["/users","somewhere"]}"#;
        assert_eq!(json(&mask, body), shown, "{value}");
    }
    let mask = mask(&[("authorization", r#"Digest username="ada", response="a, \"canary""#)]);
    assert_eq!(json(&mask, r#"{"x":"you are a, \"canary"}"#), r#"{"x":"***"}"#);
}

#[test]
fn inv16_what_a_request_hides_in_json_within_its_body_is_masked_where_it_is_echoed() {
    let bodies = [
        ("application/json", r#"{"a":"{\"password\":\"a-canary\"}"}"#),
        ("application/json", r#"{"a":[{"name":"password","value":"a-canary"}]}"#),
        ("application/json", r#"{"state":"a-canary","client_id":"x"}"#),
        ("application/x-www-form-urlencoded", "a=%7B%22password%22%3A%22a-canary%22%7D"),
        ("application/x-www-form-urlencoded", "code=x&state=a-canary"),
    ];
    for (content_type, body) in bodies {
        let mask = mask_of("https://a.example/?state=opened", &[("content-type", content_type)], body);
        assert_eq!(json(&mask, r#"{"x":"a-canary","y":"opened"}"#), r#"{"x":"***","y":"opened"}"#, "{body}");
    }
}

#[test]
fn inv34_an_echo_is_masked_whatever_escaping_the_server_used() {
    let mask = mask(&[("cookie", "theme=dark; session=s3cret&1")]);
    for body in [
        r#"{"x":"<p>s3cret&amp;1</p>"}"#,
        r#"{"x":"s3cret&#x26;1"}"#,
        r#"{"x":"7333637265742631"}"#,
        r#"{"x":"s3cret\\u{26}1"}"#,
        r#"{"x":"115 51 99 114 101 116 38 49"}"#,
        r#"{"x":[115,51,99,114,101,116,38,49]}"#,
        r#"{"x":{"0":115,"1":51,"2":99,"3":114,"4":101,"5":116,"6":38,"7":49}}"#,
        r#"{"x":{"0":1,"1":2,"2":3,"3":4,"4":115,"5":51,"6":99,"7":114,"8":101,"9":116,"10":38,"11":49}}"#,
    ] {
        assert_eq!(json(&mask, body), r#"{"x":"***"}"#, "{body}");
    }
    for body in [r#"{"x":[115,51,99]}"#, r#"{"x":{"0":115,"y":51}}"#, r#"{"x":{}}"#, r#"{"x":[]}"#] {
        assert_eq!(json(&mask, body), body);
    }
}

#[test]
fn inv34_what_is_invisible_or_turns_the_line_around_is_not_shown() {
    let body = "{\"x\":\"a\u{202e}b\u{2028}c\u{200b}\",\"\u{2066}y\":\"naïve ☃\"}";
    assert_eq!(json(&mask(&[]), body), "{\"x\":\"a b c \",\" y\":\"naïve ☃\"}");
}

#[test]
fn inv34_many_cookies_are_searched_for_once_each_and_too_many_hide_everything() {
    let cookies = |count: usize| {
        let cookies: Vec<_> = (0..count).map(|number| format!("c=cookie-{number:05}")).collect();
        cookies.join("; ")
    };
    let mask = |count: usize| mask(&[("cookie", cookies(count).leak())]);
    let shown = |mask: &Mask| json(mask, r#"{"x":"said cookie-00777","y":"cookie-01777"}"#);
    assert_eq!(shown(&mask(1_000)), r#"{"x":"***","y":"cookie-01777"}"#);
    assert_eq!(shown(&mask(1_100)), r#"{"***":"***"}"#);
}

#[test]
fn inv34_of_headers_only_so_much_is_looked_through() {
    let long = "x".repeat(MAX_SEARCHED - 3);
    let mut sent = HeaderMap::new();
    for (name, value) in [("accept", "yes"), ("via", long.as_str()), ("te", "z"), ("cookie", "z")] {
        sent.insert(HeaderName::from_static(name), value.parse().unwrap());
    }
    let shown = mask(&[]).headers(&sent, &url(), &trust());
    assert_eq!(shown, format!("accept: \"yes\", via: \"{long}\", te: 1 bytes, cookie: ***"));
}

#[test]
fn inv16_a_value_without_a_name_is_masked_where_it_is_echoed() {
    let bodies = [
        ("application/json", r#""a-canary""#),
        ("application/json", r#"["x",["a-canary"]]"#),
        ("application/json", r#"[{"x":"y"},"a-canary"]"#),
        ("application/json", r#""{\"x\":\"a-canary\"}""#),
        ("application/x-www-form-urlencoded", "a-canary"),
        ("application/x-www-form-urlencoded", "x=y&a%2Dcanary"),
        ("text/plain", "a-canary\n"),
        ("application/xml", "a-canary"),
        ("application/octet-stream", r#"{"password":"a-canary"}"#),
    ];
    for (content_type, body) in bodies {
        let mask = mask_of("https://a.example", &[("content-type", content_type)], body);
        assert_eq!(json(&mask, r#"{"x":"a-canary","y":"z"}"#), r#"{"x":"***","y":"z"}"#, "{body}");
    }
    let mask = mask_of("https://a.example", &[("content-type", "application/json")], "12345678");
    assert_eq!(json(&mask, r#"{"x":"12345678","y":123}"#), r#"{"x":"***","y":123}"#);
    let mask = mask_of("https://a.example/?a%2Dcanary", &[], "");
    assert_eq!(json(&mask, r#"{"x":"a-canary","y":"z"}"#), r#"{"x":"***","y":"z"}"#);
}

#[test]
fn inv16_a_field_of_a_multipart_form_is_masked_where_it_is_echoed() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nholiday-photos\r\n\
                --b\r\ncontent-disposition: form-data; name=\"password\"\r\n\
                Content-Type: text/plain\r\n\r\na-canary\r\n\
                --b\r\nContent-Disposition: form-data; name=\"data\"\r\nContent-Type: application/json\r\n\r\n\
                {\"pin\":\"canary-2\"}\r\n\
                --b\r\nContent-Disposition: form-data; filename=\"token.txt\"; name=api_key\r\n\r\n\
                canary-3\r\nline\r\n--b\r\n\r\ncanary-4\r\n--b--\r\n";
    for content_type in ["multipart/form-data; boundary=b", "Multipart/Related; Boundary=\"b\"; type=x"] {
        let mask = mask_of("https://a.example", &[("content-type", content_type)], form);
        for (body, shown) in [
            (r#"{"x":"a-canary"}"#, r#"{"x":"***"}"#),
            (r#"{"x":"canary-2"}"#, r#"{"x":"***"}"#),
            (r#"{"x":"canary-3\r\nline"}"#, r#"{"x":"***"}"#),
            (r#"{"x":"canary-4"}"#, r#"{"x":"***"}"#),
            (r#"{"x":"holiday-photos"}"#, r#"{"x":"holiday-photos"}"#),
        ] {
            assert_eq!(json(&mask, body), shown, "{content_type}: {body}");
        }
    }
}

#[test]
fn inv16_a_query_or_a_form_that_is_nothing_but_a_value_is_masked() {
    for (query, shown) in [
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("a=x&canary", "a=x&***"),
        ("Y2FuYXJ5Y2FuYXJ5Y2E=", "***"),
        ("Y2FuYXJ5Y2FuYXJ5Yw==", "***"),
        ("a=&b=x", "a=&b=x"),
    ] {
        let url = Url::parse(&format!("https://a.example/?{query}")).unwrap();
        assert_eq!(mask(&[]).url(&url), format!("https://a.example/?{shown}"), "{query}");
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        assert_eq!(mask(&[]).body(Some(&form), query.as_bytes(), 1_000), shown, "{query}");
    }
}

#[test]
fn inv16_after_an_unreadable_body_the_log_shows_little_of_the_answer() {
    let long = format!(r#"{{"x":"{}","password":"a-canary"}}"#, "x".repeat(MAX_SEARCHED)).leak();
    for (content_type, body) in [
        ("application/json", &*long),
        ("application/x-www-form-urlencoded", long),
        ("application/json", r#"{"password":"a-canary""#),
        ("multipart/form-data; boundary=b", "--c\r\n"),
        ("multipart/form-data", "--\r\n"),
    ] {
        let mask = mask_of("https://a.example", &[("content-type", content_type)], body);
        let json = HeaderValue::from_static("application/json");
        assert_eq!(
            mask.answer_body(Some(&json), br#"{"x":"a-canary"}"#, 1_000),
            "16 bytes",
            "{content_type}"
        );
        let answer = headers(&[("content-type", "text/plain"), ("etag", "a-canary")]);
        let shown = mask.answer_headers(&answer, &url(), &trust());
        assert_eq!(shown, "content-type: \"text/plain\", etag: ***", "{content_type}");
    }
    let mut stream = Request::new(http::Method::POST, url());
    *stream.body_mut() = Some(reqwest::Body::wrap(reqwest::Body::from("a-canary")));
    let mask = Mask::of(&RequestContent::of(&stream), &trust(), [].into(), None);
    assert_eq!(mask.answer_headers(&headers(&[("etag", "x")]), &url(), &trust()), "etag: ***");
    // A body without secrets, and a body that counts as one secret.
    let text = "x".repeat(MAX_SEARCHED + 1).leak();
    for (content_type, body) in [("application/json", ""), ("text/plain", &*text)] {
        let mask = mask_of("https://a.example", &[("content-type", content_type)], body);
        assert_eq!(mask.answer_headers(&headers(&[("etag", "y")]), &url(), &trust()), "etag: \"y\"");
    }
}

#[test]
fn inv16_a_credential_with_characters_outside_ascii_is_masked_where_it_is_echoed() {
    let mut request = Request::new(http::Method::GET, url());
    let cookie = HeaderValue::from_bytes("theme=dark; session=pässwörd".as_bytes()).unwrap();
    request.headers_mut().insert("cookie", cookie);
    let mask = Mask::of(&RequestContent::of(&request), &trust(), [].into(), None);
    assert_eq!(json(&mask, r#"{"x":"pässwörd","y":"p%C3%A4ssw%C3%B6rd"}"#), r#"{"x":"***","y":"***"}"#);
}

#[test]
fn inv16_a_location_is_searched_as_it_came() {
    let mask = mask(&[("cookie", r"s=MySecret; p=c:\my\password")]);
    let shown = |value| mask.headers(&headers(&[("location", value)]), &url(), &trust());
    for location in ["https://MySecret.b.example/x", r"/c:\my\password", "//b.example/MySecret"] {
        assert_eq!(shown(location), "location: ***", "{location}");
    }
    assert_eq!(shown("https://b.example/x"), "location: \"https://b.example/x\"");
}

#[test]
fn inv16_a_redirect_to_a_path_or_a_host_that_repeats_a_secret_is_masked() {
    let from = Url::parse("https://api-example.test/start").unwrap();
    let headers = headers(&[("cookie", r"s=Api-Example; p=c:\my\password")]);
    let content = || RequestContent { url: &from, headers: &headers, body: BodyContent::Bytes(&[]) };
    for (target, shown) in [
        ("https://api-example.test/x?y", "https://api-example.test/x"),
        ("https://other.test/x", "https://other.test/x"),
        ("https://api-example.test/a/Api%2DExample/b", "https://api-example.test/***"),
        ("https://other.test/QXBpLUV4YW1wbGU", "https://other.test/***"),
        ("https://Api-Example.other.test/x", "***"),
        (r"https://other.test/a\c:\my\password/b", "https://other.test/***"),
    ] {
        let target = Url::parse(target).unwrap();
        let redirected =
            Secrets::default().mask_redirect_target(&content(), target.clone(), &trust(), [].into());
        assert_eq!((redirected.shown(), &*redirected), (shown, &target));
    }
    let mut secrets = Secrets::default();
    secrets.mask_redirect_target(&content(), from.clone(), &trust(), [].into());
    let empty = HeaderMap::new();
    let later = RequestContent { headers: &empty, ..content() };
    let target = Url::parse("https://other.test/Api-Example").unwrap();
    let redirected = secrets.mask_redirect_target(&later, target, &trust(), [].into());
    assert_eq!(redirected.shown(), "https://other.test/***", "a secret of an earlier hop");
}
