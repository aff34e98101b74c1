//! Steps that make HTTP calls, against servers on loopback.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, Clock, ConfigError, FetchContext, ManualClock, Secret,
    SecretSource, TimeFormat, TokenData, TokenFetcher, async_trait,
};
use forge_pipeline::{
    BodyTokenFetcher, ContentType, HeaderTokenFetcher, HttpMethod, HttpTokenFetcherBuilder,
};
use forge_token::{TokenRequest, TokenResponse, TokenTransport};
use serde_json::{Value, json};

#[derive(Clone, Default)]
struct Server(Arc<Mutex<ServerState>>);

#[derive(Default)]
struct ServerState {
    answer: (u16, Vec<(&'static str, String)>, String),
    seen: Vec<SeenRequest>,
}

#[derive(Clone)]
struct SeenRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Server {
    /// A server that answers every request with this response, and its URL.
    async fn answering(status: u16, headers: &[(&'static str, &str)], body: &Value) -> (Self, String) {
        let server = Self::default();
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        server.0.lock().unwrap().answer = (status, headers, body.to_string());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (server, url)
    }

    async fn token() -> (Self, String) {
        Self::answering(200, &[], &json!({"access_token": "t", "expires_in": 60})).await
    }

    fn seen(&self) -> SeenRequest {
        self.0.lock().unwrap().seen.last().cloned().expect("a request")
    }
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut state = server.0.lock().unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    state.seen.push(SeenRequest { method, uri, headers, body });
    let (status, headers, body) = state.answer.clone();
    let headers: HeaderMap = headers
        .into_iter()
        .map(|(name, value)| (axum::http::HeaderName::from_static(name), value.parse().unwrap()))
        .collect();
    (StatusCode::from_u16(status).unwrap(), headers, body)
}

fn context() -> FetchContext {
    FetchContext::new().with_token("app_token", TokenData::new("app-canary"))
}

async fn fetch(fetcher: Result<impl TokenFetcher, ConfigError>) -> Result<TokenData, AuthenticationError> {
    fetcher.expect("a fetcher").fetch(&context()).await
}

fn body(url: &str) -> HttpTokenFetcherBuilder<forge_pipeline::InBody> {
    BodyTokenFetcher::builder("user_token", url, "/v1/user/token")
}

#[tokio::test]
async fn data_goes_out_as_a_form_by_default_and_dynamic_values_win() {
    let (server, url) = Server::token().await;
    let fetcher = body(&url)
        .request_data([("grant_type", "client_credentials"), ("scope", "a b"), ("scope", "c")])
        .request_data([("tenant", json!(7)), ("user", json!("x"))])
        .request_data_with(|context| [("user", context.get_token_value("app_token"))])
        .request_headers([("X-One", "1"), ("X-App-Token", "none"), ("Accept", "application/jwt")])
        .request_headers_with(|context| [("x-app-token", context.get_token_value("app_token"))])
        .build();
    let token = fetch(fetcher).await.unwrap();
    assert_eq!((token.access_token(), token.token_type()), ("t", "Bearer"));
    let seen = server.seen();
    assert_eq!((seen.method, seen.uri.path()), (Method::POST, "/v1/user/token"));
    assert_eq!(seen.body, "grant_type=client_credentials&scope=a+b&scope=c&tenant=7&user=app-canary");
    assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(
        (&seen.headers["x-one"], &seen.headers["accept"]),
        (&"1".parse().unwrap(), &"application/jwt".parse().unwrap())
    );
    assert_eq!(seen.headers.get_all("x-app-token").iter().collect::<Vec<_>>(), ["app-canary"]);
}

#[tokio::test]
async fn a_header_that_follows_from_the_body_is_refused_and_nothing_is_sent() {
    let (server, url) = Server::token().await;
    for name in ["Content-Length", "transfer-encoding"] {
        let refused = body(&url).request_headers([(name, "1")]).build().unwrap_err();
        assert_eq!(refused.field(), "request_headers");
        assert!(refused.to_string().contains(&name.to_lowercase()), "{refused}");
        let refused =
            fetch(body(&url).request_headers_with(move |_| [(name, "1")]).build()).await.unwrap_err();
        assert_eq!(refused.kind(), &AuthenticationErrorKind::Configuration);
        assert!(refused.source().unwrap().to_string().contains(&name.to_lowercase()));
    }
    assert!(server.0.lock().unwrap().seen.is_empty());
}

#[tokio::test]
async fn data_goes_out_as_json_with_nested_values() {
    let (server, url) = Server::token().await;
    let fetcher = body(&url)
        .content_type(ContentType::Json)
        .request_data([("user", "x\"y")])
        .request_data([("device", json!({"id": 7, "tags": ["a", null]}))])
        .request_data([("secret", SecretSource::from("s"))])
        .request_data_with(|context| {
            [("authorization", context.get_token("app_token").map(TokenData::authorization_header))]
        })
        .build();
    fetch(fetcher).await.unwrap();
    let seen = server.seen();
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    let expected = json!({
        "user": "x\"y", "device": {"id": 7, "tags": ["a", null]}, "secret": "s",
        "authorization": "Bearer app-canary",
    });
    assert_eq!(sent, expected);
    assert_eq!(seen.headers["content-type"], "application/json");
    assert_eq!(seen.headers["accept"], "application/json");
}

#[tokio::test]
async fn data_of_a_get_goes_into_the_query() {
    let (server, url) = Server::token().await;
    let fetcher = BodyTokenFetcher::builder("app_token", format!("{url}/base/"), "token?a=1")
        .method(HttpMethod::Get)
        .request_data([("b c", "d&e")])
        .build();
    fetch(fetcher).await.unwrap();
    let seen = server.seen();
    assert_eq!((seen.method, seen.uri.to_string()), (Method::GET, "/base/token?a=1&b+c=d%26e".to_owned()));
    assert!(seen.body.is_empty() && !seen.headers.contains_key("content-type"));
}

#[tokio::test]
async fn an_endpoint_never_leaves_the_base_url() {
    let (server, url) = Server::token().await;
    for (endpoint, path) in [
        ("", "/"),
        ("/", "/"),
        ("//elsewhere/x", "/elsewhere/x"),
        ("http://elsewhere/x", "/http://elsewhere/x"),
    ] {
        fetch(BodyTokenFetcher::builder("a", &url, endpoint).build()).await.unwrap();
        assert_eq!(server.seen().uri.path(), path);
    }
}

#[tokio::test]
async fn fields_may_lie_deeper_and_an_expiry_may_be_a_moment() {
    let answer =
        json!({"data": {"token": "t", "kind": "Token", "until": "1970-01-01T01:00:00Z", "more": "r"}});
    let (_server, url) = Server::answering(200, &[], &answer).await;
    let clock = ManualClock::new();
    let now = clock.now().wall().timestamp();
    let fetcher = body(&url)
        .token_field("/data/token")
        .token_type_field("/data/kind")
        .refresh_token_field("/data/more")
        .expires_in_field("never")
        .build();
    let token = fetch(fetcher).await.unwrap();
    assert_eq!((token.authorization_header().as_str(), token.refresh_token()), ("Token t", Some("r")));
    assert_eq!(token.expires_at(), None);

    let (_server, url) =
        Server::answering(200, &[], &json!({"jwt": "t", "exp": now + 90, "expires_in": 5})).await;
    let fetcher = body(&url)
        .token_field("jwt")
        .default_token_type("JWT")
        .expires_at_field("exp", TimeFormat::UnixSeconds)
        .clock(Arc::new(clock))
        .build();
    let token = fetch(fetcher).await.unwrap();
    assert_eq!((token.token_type(), token.expires_at().unwrap().timestamp()), ("JWT", now + 90));
}

#[test]
fn what_a_step_depends_on_adds_up() {
    let step = BodyTokenFetcher::builder("c", "https://auth.example.com", "/token").depends_on(["a"]);
    let step = step.depends_on(["b"]).depends_on(["a"]).build().unwrap();
    assert_eq!(step.depends_on(), ["a", "b", "a"]);
}

/// A transport whose clock advances before it returns the response.
#[derive(Debug)]
struct SlowTransport(Arc<ManualClock>, Duration);

#[async_trait]
impl TokenTransport for SlowTransport {
    async fn call(&self, _: TokenRequest) -> Result<TokenResponse, AuthenticationError> {
        self.0.advance(self.1);
        let answer = json!({"access_token": "t", "expires_in": 60}).to_string();
        Ok(TokenResponse::new(StatusCode::OK, answer.into()))
    }
}

#[tokio::test]
async fn a_lifetime_counts_from_when_the_call_is_sent_not_from_when_the_answer_comes() {
    let clock = Arc::new(ManualClock::new());
    let sent_at = clock.now().wall();
    let fetcher = body("https://auth.example.com")
        .transport(SlowTransport(Arc::clone(&clock), Duration::from_secs(40)))
        .clock(Arc::clone(&clock) as _)
        .build();
    let token = fetch(fetcher).await.unwrap();
    assert_eq!(clock.now().wall(), sent_at + Duration::from_secs(40));
    let counted_from_then = (Some(sent_at), Some(sent_at + Duration::from_secs(60)));
    assert_eq!((token.issued_at(), token.expires_at()), counted_from_then);
}

#[tokio::test]
async fn a_fetcher_without_a_pipeline_gives_its_token_the_lifetime_that_is_set() {
    let clock = Arc::new(ManualClock::new());
    let sent_at = clock.now().wall();
    let lives_an_hour = (Some(sent_at), Some(sent_at + Duration::from_secs(3600)));
    let (_server, url) = Server::answering(200, &[("authorization", "Bearer t")], &json!({"jwt": "t"})).await;
    let in_header = HeaderTokenFetcher::builder("session", &url, "/login").clock(Arc::clone(&clock) as _);
    let in_body = body(&url).token_field("jwt").clock(Arc::clone(&clock) as _);
    let ttl = Duration::from_secs(3600);
    for token in [fetch(in_header.ttl(ttl).build()).await, fetch(in_body.ttl(ttl).build()).await] {
        let token = token.unwrap();
        assert_eq!((token.issued_at(), token.expires_at()), lives_an_hour);
    }
    let slow = body("https://auth.example.com")
        .transport(SlowTransport(Arc::clone(&clock), Duration::from_secs(40)))
        .clock(Arc::clone(&clock) as _);
    let token = fetch(slow.ttl(ttl).build()).await.unwrap();
    assert_eq!(
        (token.issued_at(), token.expires_at()),
        lives_an_hour,
        "the lifetime counts from the moment at which the call is sent"
    );
}

#[tokio::test]
async fn a_lifetime_that_is_set_wins_also_over_one_that_is_none() {
    let odd = [json!(0), json!(-1), json!("never"), json!({"a": 1}), json!("1970-01-01T00:00:00Z")];
    for said in odd {
        let (_server, url) = Server::answering(200, &[], &json!({"access_token": "t", "exp": said})).await;
        let lifetime = body(&url).expires_in_field("exp");
        let moment = body(&url).expires_at_field("exp", TimeFormat::Rfc3339);
        for step in [lifetime, moment] {
            let token = fetch(step.ttl(Duration::from_secs(60)).build()).await.unwrap();
            assert_eq!(token.access_token(), "t", "{said}");
        }
        fetch(body(&url).expires_in_field("exp").build()).await.unwrap_err();
    }
}

#[tokio::test]
async fn a_token_may_stand_in_a_header() {
    let (server, url) =
        Server::answering(200, &[("authorization", "Bearer t"), ("x-session-id", "s")], &json!(["a"])).await;
    let step = || HeaderTokenFetcher::builder("session", &url, "/login");
    assert_eq!(fetch(step().build()).await.unwrap().authorization_header(), "Bearer t");
    let fetcher =
        step().token_header("X-Session-Id").token_type("Session").request_data([("a", "b")]).build();
    assert_eq!(fetch(fetcher).await.unwrap().authorization_header(), "Session s");
    assert_eq!(server.seen().body, "a=b");
    let error = fetch(step().token_header("X-Other").build()).await.unwrap_err();
    assert_eq!(*error.kind(), AuthenticationErrorKind::InvalidResponse);
}

#[tokio::test]
async fn a_step_reads_its_token_from_one_of_several_cookies() {
    let set = [
        ("set-cookie", "route=node1; Path=/"),
        ("set-cookie", "JSESSIONID=s1; Path=/; HttpOnly"),
        ("set-cookie", "lang=de; Max-Age=60"),
    ];
    let (_server, url) = Server::answering(200, &set, &json!(null)).await;
    let step = || HeaderTokenFetcher::builder("session", &url, "/login");
    let session = fetch(step().cookie("JSESSIONID").build()).await.unwrap();
    assert_eq!((session.access_token(), session.expires_at()), ("s1", None));
    assert_eq!(session.cookie_header("JSESSIONID"), "JSESSIONID=s1");
    let clock = Arc::new(ManualClock::new());
    let lang = fetch(step().cookie("lang").clock(Arc::clone(&clock) as _).build()).await.unwrap();
    let in_a_minute = clock.now().wall() + Duration::from_secs(60);
    assert_eq!((lang.access_token(), lang.expires_at()), ("de", Some(in_a_minute)));
    let error = fetch(step().cookie("sid").build()).await.unwrap_err();
    assert!(error.to_string().contains("cookie `sid`: expected a value, found no such cookie"), "{error}");

    // The later of the two settings counts.
    let whole = step().cookie("JSESSIONID").token_header("X-Other").build();
    assert!(fetch(whole).await.unwrap_err().to_string().contains("header `x-other`"));
    let refused = step().token_header("Set-Cookie").build().unwrap_err();
    assert!(refused.to_string().contains("`cookie`"), "{refused}");
}

#[tokio::test]
async fn a_token_that_no_step_brings_is_an_error_that_says_what_to_do_and_nothing_is_sent() {
    let (server, url) = Server::token().await;
    let header =
        body(&url).request_headers_with(|context| [("X-App-Token", context.get_token_value("other"))]);
    let data = body(&url).request_data_with(|context| [("token", context.get_token_value("other"))]);
    for (fetcher, what) in [(header.build(), "header `x-app-token`"), (data.build(), "data field `token`")] {
        let error = fetch(fetcher).await.unwrap_err();
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
        let text = error.to_string();
        assert!(text.contains(what) && text.contains("`depends_on`"), "{text}");
    }
    assert!(server.0.lock().unwrap().seen.is_empty());
}

#[tokio::test]
async fn what_goes_into_no_request_is_an_error_that_names_it() {
    let (server, url) = Server::token().await;
    let split = body(&url).request_headers_with(|_| [("x-a", "canary\r\nx-b: 1")]).build();
    let name = body(&url).request_headers_with(|_| [("canary header", "1")]).build();
    let nested = body(&url).request_data_with(|_| [("field", json!(["canary"]))]).build();
    let nested_header = body(&url).request_headers_with(|_| [("x-a", json!(["canary"]))]).build();
    for (fetcher, what) in [
        (split, "header `x-a`"),
        (name, "`request_headers_with`"),
        (nested, "data field `field`"),
        (nested_header, "header `x-a`"),
    ] {
        let error = fetch(fetcher).await.unwrap_err();
        assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(what) && !shown.contains("canary"), "{shown}");
    }
    assert!(server.0.lock().unwrap().seen.is_empty());
}

#[tokio::test]
async fn inv16_nothing_that_was_sent_comes_back_in_an_error() {
    let echo = "said data-canary, header-canary, deep-canary, app-canary, cXVlcnktY2FuYXJ5, basic-canary";
    let answer =
        json!({"error": "no data-canary", "error_description": echo, "access_token": "answer-canary"});
    for status in [200, 400, 401, 500] {
        let (_server, url) = Server::answering(status, &[], &answer).await;
        let settings = || {
            BodyTokenFetcher::builder("a", &url, "/token?key=query-canary")
                .content_type(ContentType::Json)
                .request_data([("a", json!({"b": ["deep-canary"]})), ("c", json!("data-canary"))])
                .request_headers([("x-a", "header-canary"), ("authorization", "Basic aWQ6YmFzaWMtY2FuYXJ5")])
        };
        let error = fetch(settings().build()).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.as_u16()), Some(status));
        let mut shown = format!("{error} {error:?} {:?} {:?}", settings(), settings().build());
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(shown, "{error} {error:?}").unwrap();
            cause = error.source();
        }
        assert!(!shown.contains("canary") && !shown.contains("Y2FuYXJ5"), "{shown}");
    }
}

#[tokio::test]
async fn inv16_a_token_in_an_answer_that_is_an_error_does_not_get_into_that() {
    let words = "the canary-token, the canary-refresh and the canary-session are of no use";
    let answer = json!({
        "error": "no canary-token", "error_description": words,
        "data": {"token": "canary-token", "list": ["canary-refresh", "canary-session"]},
    });
    for status in [200, 400] {
        let headers = [("x-session-id", "Bearer canary-token"), ("x-session-id", "canary-refresh")];
        let (_server, url) = Server::answering(status, &headers, &answer).await;
        let in_body = body(&url).token_field("/data/token").refresh_token_field("/data/list/0").build();
        let in_header = HeaderTokenFetcher::builder("session", &url, "/login").token_header("X-Session-Id");
        for error in [fetch(in_body).await.unwrap_err(), fetch(in_header.build()).await.unwrap_err()] {
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("are of no use") && shown.contains("canary-session"), "{shown}");
            assert!(!shown.contains("canary-token") && !shown.contains("canary-refresh"), "{shown}");
        }
    }
}

#[tokio::test]
async fn inv14_redirects_are_not_followed_and_plain_http_is_refused() {
    let (server, url) = Server::answering(307, &[("location", "/elsewhere")], &json!({})).await;
    let error = fetch(body(&url).request_data([("a", "b")]).build()).await.unwrap_err();
    assert_eq!((error.kind(), server.0.lock().unwrap().seen.len()), (&AuthenticationErrorKind::Status, 1));
    let error = body("http://auth.example.com").build().unwrap_err();
    assert_eq!(error.field(), "base_url");
    assert!(body("http://auth.example.com").danger_accept_plain_http(true).build().is_ok());
}

#[tokio::test]
async fn an_answer_is_waited_for_as_long_as_the_step_says() {
    // The server reads the request and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for fetcher in [
        body(&url).timeout(Duration::from_millis(50)).build(),
        body(&url).http(|http| http.timeout(Duration::from_millis(50))).build(),
    ] {
        assert!(fetch(fetcher).await.unwrap_err().is_timeout());
    }
}

#[test]
fn what_cannot_be_is_named_when_it_is_built() {
    let step = || BodyTokenFetcher::builder("a", "https://auth.example.com", "/token");
    let header = || HeaderTokenFetcher::builder("a", "https://auth.example.com", "/token");
    let at = |base: &str| BodyTokenFetcher::builder("a", base, "/t").build().err();
    let missing: Option<Secret> = None;
    let fields = [
        (BodyTokenFetcher::builder("", "https://auth.example.com", "/t").build().err(), "name"),
        (BodyTokenFetcher::builder("canary:x", "https://auth.example.com", "/t").build().err(), "name"),
        (at("canary"), "base_url"),
        (at("https://user:canary@auth.example.com"), "base_url"),
        (at("https://auth.example.com?canary"), "base_url"),
        (BodyTokenFetcher::builder("a", "https://auth.example.com", "/t#canary").build().err(), "endpoint"),
        (step().ttl(Duration::ZERO).build().err(), "ttl"),
        (step().timeout(Duration::ZERO).build().err(), "timeout"),
        (step().method(HttpMethod::Get).content_type(ContentType::Json).build().err(), "content_type"),
        (step().request_headers([("bad canary", "1")]).build().err(), "request_headers"),
        (step().request_headers([("x-a", "canary\n")]).build().err(), "request_headers"),
        (step().request_headers([("x-a", json!(["canary"]))]).build().err(), "request_headers"),
        (step().request_data([("a", json!({"canary": 1}))]).build().err(), "request_data"),
        (step().request_data([("a", missing)]).build().err(), "request_data"),
        (step().http(|http| http.user_agent("canary\n")).build().err(), "http"),
        (header().token_header("canary header").build().err(), "token_header"),
        (header().token_type("canary\n").build().err(), "token_type"),
        (header().token_header("Set-Cookie").build().err(), "token_header"),
        (header().cookie("").build().err(), "cookie"),
        (header().cookie("canary=1").build().err(), "cookie"),
        (header().cookie("canary; a").build().err(), "cookie"),
        (step().default_token_type("canary\n").build().err(), "default_token_type"),
    ];
    for (error, field) in fields {
        let error = error.expect(field);
        assert_eq!(error.field(), field);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
