//! Headers that decide where a request ends. With two answers to that a server sees two requests (RFC 9112
//! 11.2), so only the HTTP library sets these headers.

use std::fmt::Debug;

use forge_tests::RawReply;
use http::{HeaderMap, HeaderName, HeaderValue};
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::hooks::{IgnoringFailures, OutgoingRequest};
use requestforge::{
    ApiKeyAuth, AuthenticationError, CompositeAuth, ConfigError, CorrelationId, HttpClient, HttpClientError,
    StaticTokenSource, TokenAuth, TokenData,
};

use super::{client, origin};

const FRAMING: [&str; 4] = ["Content-Length", "content-length", "Transfer-Encoding", "TRANSFER-ENCODING"];

/// Checks that the client refuses the request because of this field, and that the error names the header.
fn expect_refusal<T: Debug>(result: Result<T, HttpClientError>, field: &str, header: &str) {
    let error = result.expect_err("refused");
    assert_eq!(error.config_error().map(ConfigError::field), Some(field), "{error:?}");
    assert!(error.to_string().contains(&header.to_ascii_lowercase()), "{error}");
}

#[tokio::test]
async fn a_caller_does_not_say_how_long_a_request_is() {
    let origin = origin(RawReply::ok("")).await;
    let client = client(&origin);
    for name in FRAMING {
        for value in ["3", "chunked"] {
            expect_refusal(client.post("/").header(name, value).body("body").send().await, "header", name);
            expect_refusal(client.get("/").header(name, value).send().await, "header", name);
            let default = HttpClient::builder(origin.url()).with_header(name, value).build();
            expect_refusal(default, "header", name);
            let shown = client.get("/").header(name, value).to_curl().to_string();
            assert!(shown.starts_with("# no request"), "{shown}");
        }
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_hook_does_not_say_how_long_a_request_is() {
    for name in FRAMING {
        let origin = origin(RawReply::ok("")).await;
        let sets = move |request: &mut OutgoingRequest<'_>| request.set_header(name, "3");
        let client = HttpClient::builder(origin.url()).with_request_hook(sets).build().expect("a client");
        let error = client.post("/").body("body").send().await.expect_err("refused");
        assert!(error.is_hook(), "{error:?}");
        assert!(origin.requests().is_empty());

        let client = HttpClient::builder(origin.url()).with_request_hook(IgnoringFailures(sets)).build();
        client.expect("a client").post("/").body("body").send().await.expect("an answer");
        let [request] = &origin.requests()[..] else { panic!("one request: {origin:?}") };
        assert_eq!((request.body(), request.header("transfer-encoding")), (&b"body"[..], None));

        assert_eq!(CorrelationId::in_header(name).map(drop).expect_err("refused").field(), "header_name");
    }
}

/// Sets one header. It announces the header from the second time on.
#[derive(Debug)]
struct Sets(&'static str, bool);

impl Sets {
    fn name(&self) -> HeaderName {
        HeaderName::try_from(self.0).expect("a name")
    }
}

impl AuthHook for Sets {
    fn header_names(&self) -> Vec<HeaderName> {
        if self.1 { vec![self.name()] } else { Vec::new() }
    }

    fn authenticate(&self, _: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError> {
        Ok(HeaderMap::from_iter([(self.name(), HeaderValue::from_static("3"))]))
    }
}

#[tokio::test]
async fn no_authentication_says_how_long_a_request_is() {
    let token = || StaticTokenSource::new(TokenData::new("t")).expect("a source");
    let origin = origin(RawReply::ok("")).await;
    for name in FRAMING {
        let builder = || HttpClient::builder(origin.url());
        expect_refusal(builder().with_auth(Sets(name, true)).build(), "auth", name);
        expect_refusal(builder().with_auth(ApiKeyAuth::new("3").header_name(name)).build(), "auth", name);
        expect_refusal(builder().with_api_key_header("3", name).build(), "auth", name);
        let tokens = TokenAuth::new(token()).auth_header_name(name).auth_header_prefix("");
        expect_refusal(builder().with_token_auth(tokens.clone()).build(), "auth", name);
        let composite = CompositeAuth::first().with(ApiKeyAuth::new("k")).with(Sets(name, true));
        expect_refusal(builder().with_auth(composite).build(), "auth", name);
        expect_refusal(client(&origin).get("/").auth(tokens).send().await, "auth", name);

        let client = builder().with_auth(Sets(name, false)).build().expect("a client");
        let error = client.post("/").body("body").send().await.expect_err("not announced");
        assert!(error.is_authentication(), "{error:?}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn inv13_a_header_that_carries_a_credential_is_not_made_public() {
    let builder = || HttpClient::builder("https://api.example.com").with_api_key_header("k", "X-Service-Key");
    for name in ["Authorization", "proxy-authorization", "Cookie", "Set-Cookie", "x-service-key"] {
        expect_refusal(builder().with_public_header(name).build(), "public_header", name);
        let hook = CorrelationId::in_header(name).expect("a name");
        expect_refusal(builder().with_request_hook(hook).build(), "public_header", name);
    }
    let error = builder().with_public_header("no name").build().expect_err("refused");
    assert_eq!(error.config_error().map(ConfigError::field), Some("public_header"));
    assert!(!error.to_string().contains("no name"), "{error}");
    assert!(builder().with_public_header("X-Api-Key").build().is_ok(), "this client has no such credential");
}

#[tokio::test]
async fn inv13_a_header_that_was_named_as_public_goes_to_every_origin() {
    let (home, foreign) = (origin(RawReply::ok("")).await, origin(RawReply::ok("")).await);
    let to = foreign.url();
    home.set_reply(move |_| RawReply::redirect(302, to.as_str()));
    let client = HttpClient::builder(home.url())
        .with_headers([("X-Tenant", "t"), ("X-Region", "r"), ("Accept-Language", "l")])
        .with_public_header("X-Tenant")
        .with_public_header(HeaderName::from_static("x-own"))
        .build()
        .expect("a client");
    let caller = |url: &str| client.get(url).header("X-Own", "o").header("X-Other", "o");
    caller("/").send().await.expect("an answer");
    caller(&foreign.url()).send().await.expect("an answer");
    let requests = foreign.requests();
    for (request, others) in requests.iter().zip([None, Some("o".to_owned())]) {
        let sent =
            ["x-tenant", "x-own", "accept-language", "user-agent"].map(|name| request.header(name).is_some());
        assert_eq!(sent, [true; 4], "{request:?}");
        assert_eq!(request.header("x-region"), None);
        // On the first hop a request's own headers go to every origin.
        assert_eq!(request.header("x-other"), others);
    }
    assert_eq!(requests.len(), 2);
}
