use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::RawReply;
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::client::HttpClientBuilder;
use requestforge::hooks::OutgoingRequest;
use requestforge::{
    ApiKeyAuth, AuthenticationError, AuthenticationErrorKind, BasicAuth, CompositeAuth, HttpClient,
    HttpClientConfigBuilder, SimpleRetryStrategy, StaticTokenSource, TokenAuth, TokenData, reqwest,
    token_source_fn,
};

use crate::world::{SignedHook, client, get, last, no_tokens, refused, server, some, tokens, values};

type Configure = fn(HttpClientBuilder) -> HttpClientBuilder;

fn fixed(token: &str) -> TokenAuth {
    TokenAuth::new(StaticTokenSource::new(TokenData::new(token)).expect("a token"))
}

/// Each kind, the header that it sets, and what it sends to `/x`. All of them exclude `/open`.
fn kinds() -> Vec<(&'static str, &'static str, Configure)> {
    vec![
        ("x-api-key", "k", |builder| builder.with_auth(ApiKeyAuth::new("k").excluded_paths(["/open"]))),
        ("x-odd", "k", |builder| {
            let auth = ApiKeyAuth::new("k").header_name("X-Odd").excluded_path_patterns(["/o*n"]);
            builder.with_auth(auth)
        }),
        ("authorization", "Basic dXNlcjpwOnc=", |builder| {
            builder.with_auth(BasicAuth::new("user", "p:w").excluded_paths(["/open"]))
        }),
        ("authorization", "Basic dXNlcjpwOnc=", |builder| {
            builder.with_auth(BasicAuth::new("user", "p:w").excluded_path_patterns(["*pen"]))
        }),
        ("authorization", "Bearer t", |builder| builder.with_auth(fixed("t").excluded_paths(["/open"]))),
        ("x-api-key", "k", |builder| {
            let inner = CompositeAuth::first().with(ApiKeyAuth::new("k").excluded_paths(["/open"]));
            builder.with_auth(CompositeAuth::all().with(inner))
        }),
    ]
}

#[tokio::test]
async fn each_kind_sets_its_header_where_the_path_is_not_excluded_and_the_caller_has_not() {
    for (name, value, configure) in kinds() {
        let server = server().await;
        let client = client(&server, configure);
        get(&client, "/x").await;
        assert_eq!(last(&server).header(name).as_deref(), Some(value));
        get(&client, "/open").await;
        assert_eq!(last(&server).header(name), None, "{name}");
        client.get("/x").header(name, "own").send().await.expect("an answer");
        assert_eq!(last(&server).header(name).as_deref(), Some("own"));
    }
}

#[test]
fn a_token_key_or_login_that_is_none_is_refused_when_the_client_is_built() {
    let refused = |field: &str, configure: &dyn Fn(HttpClientBuilder) -> HttpClientBuilder| {
        let error = configure(HttpClient::builder("http://127.0.0.1:1")).build().expect_err(field);
        assert_eq!(error.config_error().map(requestforge::ConfigError::field), Some(field), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    };
    for text in ["", " ", "canary\u{e9}", "canary\r\n", "canary\u{7f}"] {
        refused("bearer_token", &|builder| builder.with_bearer_token(text));
        refused("api_key", &|builder| builder.with_api_key(text));
        refused("api_key", &|builder| builder.with_api_key_header(text, "X-Key"));
        refused("api_key", &|builder| builder.with_auth(CompositeAuth::all().with(ApiKeyAuth::new(text))));
    }
    refused("basic_auth", &|builder| builder.with_basic_auth("", ""));
    // RFC 7617 2 allows an empty user and an empty password, and some APIs want one.
    for (username, password) in [("key", ""), ("", "key"), ("us\u{e9}r", "p\u{e4}ss")] {
        let builder = HttpClient::builder("http://127.0.0.1:1").with_basic_auth(username, password);
        assert!(builder.build().is_ok());
    }
}

#[tokio::test]
async fn inv15_with_a_source_of_what_is_no_token_nothing_is_sent() {
    for text in ["", " ", "caf\u{e9}"] {
        let server = server().await;
        let source = token_source_fn(move || async move { Ok(TokenData::new(text)) });
        for client in [
            client(&server, |builder| builder.with_token_auth(source.clone())),
            client(&server, |builder| {
                builder.with_token_auth(
                    TokenAuth::new(source.clone()).auth_header_name("X-Key").auth_header_prefix(""),
                )
            }),
        ] {
            let error = client.get("/x").send().await.expect_err("no token");
            let kind = error.authentication_error().map(AuthenticationError::kind);
            assert_eq!(kind, Some(&AuthenticationErrorKind::InvalidResponse), "{text:?}: {error:?}");
        }
        assert!(server.requests().is_empty(), "{text:?}");
    }
}

#[tokio::test]
async fn a_hook_sees_what_is_sent_each_time_that_it_is() {
    let server = server().await;
    let url = server.url();
    let signed = SignedHook::default();
    let asked = Arc::clone(&signed.asked);
    let auth = CompositeAuth::all().with(ApiKeyAuth::new("k")).with(signed);
    let retries = SimpleRetryStrategy::new().max_retries(1).delay(Duration::ZERO);
    let client = client(&server, |builder| builder.with_auth(auth).with_retry_strategy(retries));

    client.put("/a/../b").query(&[("q", "1")]).body("body").send().await.expect("an answer");
    let signature = format!("PUT {url}/b?q=1 Some(\"k\") Some(\"body\")");
    assert_eq!(last(&server).header("x-odd"), Some(signature));
    client.put("/").body_stream(reqwest::Body::wrap(String::from("s"))).send().await.expect("an answer");
    assert_eq!(last(&server).header("x-odd"), Some(format!("PUT {url}/ Some(\"k\") None")));
    get(&client, "/unsigned").await;
    assert_eq!(values(&last(&server), ["x-odd", "x-api-key"]), some(["", "k"]));

    // A retry, and a hop.
    asked.store(0, Ordering::SeqCst);
    server.clear();
    server.set_reply(|request| match request.target() {
        "/0" => RawReply::redirect(302, "/1"),
        _ => RawReply::status(503),
    });
    get(&client, "/0").await;
    let signatures: Vec<_> =
        server.requests().iter().map(|request| request.header("x-odd").expect("signed")).collect();
    let at = |path| format!("GET {url}/{path} Some(\"k\") Some(\"\")");
    assert_eq!(signatures, [at(0), at(1), at(1)]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn inv13_a_hook_is_not_asked_at_another_origin() {
    let (home, foreign) = (server().await, server().await);
    let target = foreign.url();
    home.set_reply(move |_| RawReply::redirect(302, target.clone()));
    let signed = SignedHook::default();
    let asked = Arc::clone(&signed.asked);
    let client = client(&home, |builder| builder.with_auth(signed));
    get(&client, &foreign.url()).await;
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    get(&client, "/").await;
    // A header of its name that the caller has set does not follow either.
    client.get("/").header("x-odd", "own").send().await.expect("an answer");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "at home, twice");
    assert_eq!(foreign.requests().len(), 3);
    assert!(foreign.requests().iter().all(|request| request.header("x-odd").is_none()));
}

#[derive(Debug)]
struct BrokenHook(&'static str);

impl AuthHook for BrokenHook {
    fn header_names(&self) -> Vec<http::HeaderName> {
        vec![http::HeaderName::from_static("x-odd")]
    }

    fn authenticate(&self, _request: &AuthRequest<'_>) -> Result<http::HeaderMap, AuthenticationError> {
        if self.0.is_empty() {
            return Err(AuthenticationError::new("broken", AuthenticationErrorKind::Other));
        }
        let name = http::HeaderName::from_static(self.0);
        Ok(http::HeaderMap::from_iter([(name, http::HeaderValue::from_static("canary"))]))
    }
}

#[tokio::test]
async fn inv15_a_hook_that_fails_or_sets_what_it_did_not_name_stops_the_request() {
    for hook in [BrokenHook(""), BrokenHook("x-other"), BrokenHook("authorization")] {
        let server = server().await;
        let client = client(&server, |builder| builder.with_auth(hook));
        let error = client.get("/").send().await.expect_err("no signature");
        assert!(error.is_authentication());
        assert!(!format!("{error} {error:?}").contains("canary"));
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn inv15_no_token_is_fetched_for_what_a_hook_stops_before() {
    let server = server().await;
    let (source, fetches) = tokens("t");
    let auth = CompositeAuth::all().with(BrokenHook("")).with(TokenAuth::new(source));
    let client = client(&server, |builder| builder.with_auth(auth));
    for request in [client.get("/"), client.get("/").force_renewal()] {
        assert!(request.send().await.expect_err("no signature").is_authentication());
    }
    assert_eq!((fetches.load(Ordering::SeqCst), server.requests().len()), (0, 0));
}

#[tokio::test]
async fn inv16_what_a_hook_sets_is_marked_as_a_secret() {
    let server = server().await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let client = client(&server, |builder| {
        builder.with_auth(SignedHook::default()).with_request_hook(
            move |request: &mut OutgoingRequest<'_>| {
                let value = request.headers().get("x-odd").expect("signed");
                counted.fetch_add(usize::from(value.is_sensitive()), Ordering::SeqCst);
            },
        )
    });
    get(&client, "/").await;
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_first_that_applies_and_all_that_apply() {
    let server = server().await;
    let headers = ["authorization", "x-api-key", "x-odd"];
    let auth = CompositeAuth::all()
        .with(ApiKeyAuth::new("k").excluded_path_patterns(["*/keyless"]))
        .with(SignedHook::default())
        .with(
            CompositeAuth::first()
                .with(fixed("t").excluded_path_patterns(["/admin/*"]))
                .with(BasicAuth::new("user", "p:w").excluded_paths(["/admin/keyless"]))
                .with(fixed("never")),
        );
    let client = client(&server, |builder| builder.with_auth(auth));
    for (path, authorization, key, is_signed) in [
        ("/x", "Bearer t", "k", true),
        ("/keyless", "Bearer t", "", true),
        ("/admin/x", "Basic dXNlcjpwOnc=", "k", true),
        ("/admin/keyless", "Bearer never", "", true),
        ("/unsigned", "Bearer t", "k", false),
    ] {
        get(&client, path).await;
        let [sent_authorization, sent_key, signature] = values(&last(&server), headers);
        assert_eq!([sent_authorization, sent_key], some([authorization, key]), "{path}");
        assert_eq!(signature.is_some(), is_signed, "{path}");
    }
}

#[tokio::test]
async fn inv15_where_no_token_can_be_had_there_is_no_falling_back() {
    let server = server().await;
    let auth = CompositeAuth::first().with(TokenAuth::new(no_tokens())).with(ApiKeyAuth::new("k"));
    let client = client(&server, |builder| builder.with_auth(auth));
    assert!(client.get("/").send().await.expect_err("no token").is_authentication());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_blank_prefix_or_type_puts_no_space_before_the_token() {
    let server = server().await;
    let untyped = StaticTokenSource::new(TokenData::new("t").with_token_type("")).expect("a token");
    for (auth, sent) in [
        (TokenAuth::new(untyped), "t"),
        (fixed("t").auth_header_prefix(""), "t"),
        (fixed("t").auth_header_prefix(" "), "t"),
        (fixed("t").auth_header_prefix("Token "), "Token t"),
    ] {
        get(&client(&server, |builder| builder.with_token_auth(auth)), "/").await;
        assert_eq!(last(&server).header("authorization").as_deref(), Some(sent));
    }
}

#[tokio::test]
async fn inv15_a_token_that_makes_two_cookies_is_not_sent() {
    let server = server().await;
    let client = client(&server, |builder| builder.with_token_auth(fixed("a; admin=1").auth_cookie("sid")));
    assert!(client.get("/").send().await.expect_err("no cookie").is_authentication());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn inv12_a_401_has_the_token_renewed_that_it_is_about() {
    let server = server().await;
    server.set_reply(|request| match (request.target(), request.header("authorization").as_deref()) {
        ("/a", Some("Bearer a1")) | ("/b", Some("Bearer b1")) => RawReply::status(401),
        ("/a", Some("Bearer a2")) => RawReply::redirect(302, "/b"),
        ("/b", Some("Bearer b2")) => RawReply::ok("found"),
        _ => RawReply::status(400),
    });
    let (a, fetched_a) = tokens("a");
    let (b, fetched_b) = tokens("b");
    let auth = CompositeAuth::all()
        .with(ApiKeyAuth::new("k"))
        .with(CompositeAuth::first().with(TokenAuth::new(a).excluded_paths(["/b"])).with(TokenAuth::new(b)));
    let client = client(&server, |builder| builder.with_auth(auth));
    assert_eq!(get(&client, "/a").await.text().await.expect("a body"), "found");
    assert_eq!((fetched_a.load(Ordering::SeqCst), fetched_b.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(server.requests().len(), 4);
    assert!(server.requests().iter().all(|request| request.header("x-api-key").as_deref() == Some("k")));
}

#[tokio::test]
async fn inv11_a_401_to_something_else_than_the_token_renews_nothing() {
    let server = server().await;
    server.set_reply(|_| RawReply::status(401));
    let (source, fetches) = tokens("t");
    let client = client(&server, |builder| {
        builder.with_token_auth(source).with_request_hook(|request: &mut OutgoingRequest<'_>| {
            request.set_header("authorization", "Bearer another")
        })
    });
    assert_eq!(get(&client, "/").await.status_code(), 401);
    assert_eq!((server.requests().len(), fetches.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn the_error_for_a_control_character_names_the_user_name_or_the_password() {
    let build =
        |auth: BasicAuth| refused(HttpClient::builder("https://api.example.com").with_auth(auth).build());
    // Secrets from files often end with a line end.
    for ending in ["\n", "\r\n", "\0", "\t", "\u{7f}"] {
        assert_eq!(build(BasicAuth::new("user", format!("canary{ending}"))), "password", "{ending:?}");
        assert_eq!(build(BasicAuth::new(&format!("canary{ending}"), "p")), "username", "{ending:?}");
        let short = HttpClient::builder("https://api.example.com");
        let short = short.with_basic_auth("user", format!("canary{ending}")).build();
        assert_eq!(refused(short), "password", "{ending:?}");
        let one_of_several = CompositeAuth::all().with(BasicAuth::new("user", format!("canary{ending}")));
        let client = HttpClient::builder("https://api.example.com").with_auth(one_of_several);
        assert_eq!(refused(client.build()), "password", "{ending:?}");
    }
}

#[test]
fn parts_that_cannot_go_together_are_refused() {
    let build =
        |auth: CompositeAuth| refused(HttpClient::builder("https://api.example.com").with_auth(auth).build());
    let two_tokens = fixed("b").auth_header_name("x-other");
    assert_eq!(build(CompositeAuth::first()), "auth");
    assert_eq!(build(CompositeAuth::all().with(fixed("a")).with(BasicAuth::new("user", "p"))), "auth");
    assert_eq!(build(CompositeAuth::all().with(fixed("a")).with(two_tokens)), "auth");
    assert_eq!(build(CompositeAuth::all().with(ApiKeyAuth::new("line\nbreak"))), "api_key");
    assert_eq!(build(CompositeAuth::all().with(ApiKeyAuth::new("k").header_name("no name"))), "header_name");
    assert_eq!(build(CompositeAuth::all().with(BasicAuth::new("a:b", "p"))), "username");
    let with_tokens = |auth: TokenAuth| {
        refused(HttpClient::builder("https://api.example.com").with_token_auth(auth).build())
    };
    assert_eq!(with_tokens(fixed("a").auth_cookie("a=b")), "auth_cookie");
    assert_eq!(with_tokens(fixed("a").auth_cookie("")), "auth_cookie");
    assert_eq!(with_tokens(fixed("a").auth_cookie("sid").auth_header_name("X-Sid")), "auth_cookie");
    assert_eq!(with_tokens(fixed("a").auth_header_prefix("").auth_cookie("sid")), "auth_cookie");
    let key_twice = HttpClient::builder("https://api.example.com").with_api_key("k");
    let key_twice = key_twice.with_auth(ApiKeyAuth::new("l")).build();
    assert_eq!(refused(key_twice), "api_key");
    let homeless = HttpClientConfigBuilder::new().with_auth(ApiKeyAuth::new("k"));
    assert_eq!(refused(homeless.build()), "base_url");
}
