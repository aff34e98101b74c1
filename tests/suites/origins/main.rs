//! The origins that credentials go to: servers that record every byte, and many ways to lead a client
//! astray.

#![allow(clippy::expect_used)]

mod tls;

use std::sync::Arc;

use forge_tests::{Origin, RawReply, RecordedRequest};
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::client::HttpClientBuilder;
use requestforge::{
    ApiKeyAuth, AuthenticationError, BasicAuth, CompositeAuth, HttpClient, HttpClientError, HttpResponse,
    StaticTokenSource, TokenAuth, TokenData,
};

use tls::TlsFront;

/// Part of every secret in this suite; base64 of `canary:canary` for Basic.
const CANARIES: [&str; 3] = ["canary", "Y2FuYXJ5", "Y2FuYXJ5OmNhbmFyeQ"];

type Configure = fn(HttpClientBuilder) -> HttpClientBuilder;

/// Each way to give a client credentials.
fn credentials() -> Vec<(&'static str, Configure)> {
    fn tokens() -> TokenAuth {
        TokenAuth::new(StaticTokenSource::new(TokenData::new("canary")).expect("a token"))
    }
    vec![
        ("bearer", |builder| builder.with_bearer_token("canary")),
        ("api key", |builder| builder.with_api_key("canary")),
        ("api key of any name", |builder| builder.with_api_key_header("canary", "X-Whatever")),
        ("basic", |builder| builder.with_basic_auth("canary", "canary")),
        ("token", |builder| builder.with_token_auth(tokens())),
        ("token in any header", |builder| {
            builder.with_token_auth(tokens().auth_header_name("X-Whatever").auth_header_prefix(""))
        }),
        ("api key auth", |builder| builder.with_auth(ApiKeyAuth::new("canary").header_name("X-Whatever"))),
        ("basic auth", |builder| builder.with_auth(BasicAuth::new("canary", "canary"))),
        ("several", |builder| {
            let auth = CompositeAuth::all().with(ApiKeyAuth::new("canary")).with(tokens());
            builder.with_auth(auth.with(CompositeAuth::first().with(Custom)))
        }),
        ("custom", |builder| builder.with_auth(Custom)),
        ("default headers", |builder| {
            builder.with_headers([("Authorization", "canary"), ("Cookie", "canary"), ("X-Api-Key", "canary")])
        }),
        ("default headers of any name", |builder| {
            builder.with_headers(["X-JFrog-Art-Api", "Jenkins-Crumb", "CST"].map(|name| (name, "canary")))
        }),
    ]
}

#[derive(Debug)]
struct Custom;

impl AuthHook for Custom {
    fn header_names(&self) -> Vec<http::HeaderName> {
        vec![http::HeaderName::from_static("x-whatever")]
    }

    fn authenticate(&self, _request: &AuthRequest<'_>) -> Result<http::HeaderMap, AuthenticationError> {
        let name = http::HeaderName::from_static("x-whatever");
        Ok(http::HeaderMap::from_iter([(name, http::HeaderValue::from_static("canary"))]))
    }
}

fn has_canary(request: &RecordedRequest) -> bool {
    CANARIES.iter().any(|canary| request.contains(canary))
}

/// Fails if a foreign origin saw data that it must not see.
fn assert_clean(origin: &Origin, case: &str) {
    for request in origin.requests() {
        assert!(!has_canary(&request), "{case}: a credential at a foreign origin");
        for header in ["authorization", "cookie", "referer", "x-api-key", "x-whatever"] {
            assert_eq!(request.header(header), None, "{case}");
        }
    }
}

/// A home and a foreign server. Each test sets their answers.
async fn origins() -> (Arc<Origin>, Arc<Origin>) {
    let home = Origin::start(|_| RawReply::ok("home")).await.expect("a server");
    let foreign = Origin::start(|_| RawReply::ok("foreign")).await.expect("a server");
    (Arc::new(home), Arc::new(foreign))
}

fn client(home: &Origin, configure: Configure) -> HttpClient {
    configure(HttpClient::builder(home.url())).build().expect("a client")
}

async fn get(client: &HttpClient, url: &str) -> Result<HttpResponse, HttpClientError> {
    client.get(url).send().await
}

#[tokio::test]
async fn inv13_at_home_the_credential_goes_along() {
    for (name, configure) in credentials() {
        let (home, _) = origins().await;
        get(&client(&home, configure), "/x").await.expect("an answer");
        assert!(has_canary(&home.requests()[0]), "{name}: this suite would prove nothing");
    }
}

#[tokio::test]
async fn inv13_an_absolute_url_to_another_origin_carries_nothing() {
    for (name, configure) in credentials() {
        let (home, foreign) = origins().await;
        get(&client(&home, configure), &format!("{}/x?y", foreign.url())).await.expect("an answer");
        assert_eq!(foreign.requests().len(), 1, "{name}");
        assert_clean(&foreign, name);
    }
}

#[tokio::test]
async fn inv13_nothing_short_of_a_scheme_leaves_the_base() {
    for (name, configure) in credentials() {
        let (home, foreign) = origins().await;
        let client = client(&home, configure);
        let host = foreign.address().to_string();
        let forms = [
            format!("//{host}/x"),
            format!("\\\\{host}/x"),
            format!("/\\{host}/x"),
            format!("\\/{host}/x"),
            format!("///{host}/x"),
            format!("@{host}/x"),
            format!("/@{host}/x"),
        ];
        for form in &forms {
            get(&client, form).await.expect("an answer");
        }
        assert!(foreign.requests().is_empty(), "{name}");
        assert_eq!(home.requests().len(), forms.len(), "{name}");
        // With a scheme the URL means the other host, whatever is hidden in it. No credentials go there.
        for form in [format!("http:\\\\{host}/x"), format!(" http://{host}/x"), format!("HTTP:{host}/x")] {
            get(&client, &form).await.expect("an answer");
        }
        assert_eq!(foreign.requests().len(), 3, "{name}");
        assert_clean(&foreign, name);
        // Some readers of a URL leave these characters out, and others do not. The client sends nothing for
        // such a URL.
        for form in [
            format!("/\t/{host}/x"),
            format!("\t//{host}/x"),
            format!("/\n/{host}/x"),
            format!("\r\n//{host}/x"),
            format!("ht\ntp://{host}/x"),
            format!("\thttp:\\\\{host}/x"),
        ] {
            let error = get(&client, &form).await.expect_err("refused");
            assert!(error.is_builder() && !format!("{error} {error:?}").contains(&host), "{form:?}");
        }
        assert_eq!((home.requests().len(), foreign.requests().len()), (forms.len(), 3), "{name}");
    }
}

#[tokio::test]
async fn inv13_redirect_chains_strip_and_never_restore() {
    for status in [301, 302, 303, 307, 308] {
        for (name, configure) in credentials() {
            for chain in ["A→B", "A→B→A", "A→B→B", "A→B→A→A"] {
                let case = format!("{name}, {chain}, {status}");
                let (home, foreign) = origins().await;
                let (home_url, foreign_url) = (home.url(), foreign.url());
                // The servers know from the path how far the chain has come.
                let hops = chain.split('→').map(|hop| if hop == "A" { &home_url } else { &foreign_url });
                let targets: Arc<Vec<String>> =
                    Arc::new(hops.enumerate().map(|(i, url)| format!("{url}/{i}")).collect());
                for origin in [&home, &foreign] {
                    let targets = Arc::clone(&targets);
                    origin.set_reply(move |request| {
                        let hop: usize = request.target().trim_start_matches('/').parse().expect("a number");
                        match targets.get(hop + 1) {
                            Some(next) => RawReply::redirect(status, next.clone()),
                            None => RawReply::ok("the end"),
                        }
                    });
                }
                let response = get(&client(&home, configure), "/0").await.expect("an answer");
                assert_eq!(response.url().as_str(), targets[targets.len() - 1], "{case}");
                assert_clean(&foreign, &case);
                let at_home = home.requests();
                assert!(has_canary(&at_home[0]), "{case}");
                assert!(!at_home.iter().skip(1).any(has_canary), "{case}: restored");
                assert!(at_home.iter().skip(1).all(|request| request.header("referer").is_none()), "{case}");
            }
        }
    }
}

#[tokio::test]
async fn inv13_a_redirect_at_home_keeps_the_credential() {
    for (name, configure) in credentials() {
        let (home, _) = origins().await;
        home.set_reply(|request| match request.target() {
            "/0" => RawReply::redirect(302, "/1"),
            _ => RawReply::ok("the end"),
        });
        get(&client(&home, configure), "/0").await.expect("an answer");
        assert_eq!(home.requests().iter().filter(|request| has_canary(request)).count(), 2, "{name}");
    }
}

#[tokio::test]
async fn inv13_a_location_may_be_written_in_many_ways() {
    for (name, configure) in credentials() {
        let (home, foreign) = origins().await;
        let host = foreign.address();
        for location in [
            format!("//{host}/x"),
            format!("\\\\{host}/x"),
            format!("/\\{host}/x"),
            format!("/\t/{host}/x"),
            format!("http:\\\\{host}/x"),
            format!("http://user:password@{host}/x"),
            format!("http://{}@{host}/x", home.address()),
        ] {
            foreign.clear();
            let target = location.clone();
            home.set_reply(move |_| RawReply::redirect(302, target.clone()));
            get(&client(&home, configure), "/0").await.expect("an answer");
            assert_eq!(foreign.requests().len(), 1, "{name}, {location:?}");
            assert_clean(&foreign, name);
        }
    }
}

#[tokio::test]
async fn inv13_a_named_origin_is_trusted_and_another_port_is_another_origin() {
    for (name, configure) in credentials() {
        let (home, foreign) = origins().await;
        let (also_home, _) = origins().await;
        let client = configure(HttpClient::builder(home.url()).with_credential_origin(also_home.url()));
        let client = client.build().expect("a client");
        get(&client, &format!("{}/x", also_home.url())).await.expect("an answer");
        assert!(has_canary(&also_home.requests()[0]), "{name}");
        // The same host under another name.
        let by_name = home.url().replace("127.0.0.1", "localhost");
        home.clear();
        get(&client, &format!("{by_name}/x")).await.expect("an answer");
        assert_clean(&home, name);
        get(&client, &foreign.url()).await.expect("an answer");
        assert_clean(&foreign, name);
    }
}

#[tokio::test]
async fn inv13_from_https_to_http_nothing_is_sent_at_all() {
    for status in [301, 302, 303, 307, 308] {
        for (name, configure) in credentials() {
            let (home, foreign) = origins().await;
            let front = TlsFront::before(home.address()).await;
            let certificate = front.certificate();
            // Targets: a foreign host, and the server behind the TLS front without TLS.
            for target in [foreign.url(), home.url()] {
                home.clear();
                home.set_reply(move |_| RawReply::redirect(status, target.clone()));
                let certificate = certificate.clone();
                let client = configure(HttpClient::builder(front.url()))
                    .with_http(move |http| http.tls_certs_only([certificate.clone()]))
                    .build()
                    .expect("a client");
                let error = get(&client, "/0").await.expect_err("refused");
                assert!(error.is_redirect(), "{name}, {status}: {error:?}");
                assert_eq!((home.requests().len(), foreign.requests().len()), (1, 0), "{name}, {status}");
                assert!(has_canary(&home.requests()[0]), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_a_tls_error() {
    let (home, _) = origins().await;
    let front = TlsFront::before(home.address()).await;
    let client = HttpClient::builder(front.url()).with_bearer_token("canary").build().expect("a client");
    let error = get(&client, "/").await.expect_err("an unknown certificate");
    assert!(error.is_tls() && error.is_connect(), "{error:?}");
    assert!(home.requests().is_empty());
}

#[tokio::test]
async fn inv13_a_body_is_not_replayed_to_another_origin() {
    for status in [307, 308] {
        let (home, foreign) = origins().await;
        let target = foreign.url();
        home.set_reply(move |_| RawReply::redirect(status, target.clone()));
        let client = client(&home, |builder| builder.with_bearer_token("canary"));
        let error = client.post("/").body("canary").send().await.expect_err("refused");
        assert!(error.is_redirect(), "{error:?}");
        assert!(foreign.requests().is_empty());
    }
}

#[tokio::test]
async fn methods_and_bodies_follow_the_redirects_status() {
    for (status, method, arrives) in [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (302, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
    ] {
        let (home, _) = origins().await;
        home.set_reply(move |request| match request.target() {
            "/0" => RawReply::redirect(status, "/1"),
            _ => RawReply::ok(""),
        });
        let client = client(&home, |builder| builder);
        let mut request = client.request(method.parse().expect("a method"), "/0");
        if method != "HEAD" {
            request = request.json("body");
        }
        request.send().await.expect("an answer");
        let last = home.requests().pop().expect("a request");
        assert_eq!(last.method(), arrives, "{status} {method}");
        let keeps_body = arrives == method && method != "HEAD";
        assert_eq!(last.body() == b"\"body\"", keeps_body, "{status} {method}");
        assert_eq!(last.header("content-type").is_some(), keeps_body, "{status} {method}");
    }
}

#[tokio::test]
async fn redirects_are_bounded_and_can_be_left_to_the_caller() {
    let (home, _) = origins().await;
    home.set_reply(|_| RawReply::redirect(302, "/again").with_body("moved"));
    let error = get(&client(&home, |builder| builder), "/").await.expect_err("a loop");
    assert!(error.is_redirect(), "{error:?}");
    assert_eq!(home.requests().len(), 11);

    let response =
        get(&client(&home, |builder| builder.with_redirects(false)), "/").await.expect("an answer");
    assert_eq!(response.status_code(), 302);
    assert_eq!(response.text().await.expect("a body"), "moved");
}

#[tokio::test]
async fn a_location_that_cannot_be_followed() {
    let (home, _) = origins().await;
    for (location, follows) in [("ftp://host/x", None), ("http://[", Some(302)), ("", Some(302))] {
        home.set_reply(move |_| {
            if location.is_empty() { RawReply::status(302) } else { RawReply::redirect(302, location) }
        });
        let answer = get(&client(&home, |builder| builder), "/").await;
        match follows {
            None => assert!(answer.expect_err("refused").is_redirect(), "{location}"),
            Some(status) => assert_eq!(answer.expect("an answer").status_code(), status, "{location}"),
        }
    }
}

#[tokio::test]
async fn inv16_errors_show_neither_credentials_nor_queries() {
    let (home, _) = origins().await;
    home.set_reply(|_| RawReply::status(500));
    for (name, configure) in credentials() {
        let client = client(&home, configure);
        let response = get(&client, "/x?token=canary").await.expect("an answer");
        let shown = format!("{client:?} {response:?} {:?}", client.get("/x?token=canary"));
        let error = response.error_for_status().expect_err("500");
        let shown = format!("{shown} {error} {error:?}");
        assert!(!CANARIES.iter().any(|canary| shown.contains(canary)), "{name}: {shown}");
    }
}
