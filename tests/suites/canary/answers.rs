//! Answers of an API, and the errors when they are not the expected ones.

use std::collections::BTreeMap;
use std::fmt::Debug;

use forge_tests::{Origin, RawReply};
use http::{HeaderValue, Method};
use requestforge::{
    ClientCredentialsTokenProvider, HttpClient, HttpResponse, StaticTokenSource, TokenAuth, TokenData,
    TokenManager,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::canaries::{Canaries, Canary};
use crate::http2::{Http2Server, Reply};
use crate::refusals::{once, reqwest_over_http2};

/// A client with a token, a key and a cookie, all of which are the canary.
fn client(base_url: String, canary: &str) -> HttpClient {
    let source = StaticTokenSource::new(TokenData::new(canary)).expect("a source");
    HttpClient::builder(base_url)
        .with_token_auth(TokenAuth::new(source))
        .with_api_key(canary)
        .with_header("Cookie", HeaderValue::try_from(canary).expect("a header"))
        .build()
        .expect("a client")
}

fn query(canary: &str) -> String {
    serde_urlencoded::to_string([("token", canary)]).expect("a query")
}

async fn of_wrong_shape<T>(canaries: &mut Canaries, url: &str, client: &HttpClient)
where
    T: shapes::Shape + Debug,
{
    let response = client.get(url).send().await.expect("an answer");
    if let Err(error) = T::read(response).await {
        assert!(error.is_parse());
        canaries.look_at_error(&format!("JSON as {}", std::any::type_name::<T>()), &error);
    }
}

/// `serde` is not a dependency of this crate, but its types are.
mod shapes {
    use super::{BTreeMap, HttpResponse, Value};
    use requestforge::HttpClientError;

    pub(super) trait Shape: Sized {
        fn read(response: HttpResponse) -> impl Future<Output = Result<Self, HttpClientError>>;
    }

    macro_rules! of_json {
        ($($shape:ty),*) => {$(
            impl Shape for $shape {
                async fn read(response: HttpResponse) -> Result<Self, HttpClientError> {
                    response.json().await
                }
            }
        )*};
    }

    of_json!(
        Value, u64, bool, char, (), String, Vec<u8>, Option<i8>, std::net::IpAddr, BTreeMap<String, u64>,
        BTreeMap<u8, String>, (String, u8), Result<u8, String>, std::time::Duration
    );
}

#[tokio::test]
async fn inv16_json_of_another_shape_is_not_told() {
    let canary = Canary::token("in the answer");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let api = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    let client = client(api.url(), &text);
    let url = format!("/x?{}", query(&text));
    let bodies = [
        json!(text).to_string(),
        json!([text]).to_string(),
        json!([text, text, text]).to_string(),
        json!({ "token": text }).to_string(),
        json!({ &text: text }).to_string(),
        json!({ &text: { &text: 1 } }).to_string(),
        json!({ "secs": text, "nanos": text }).to_string(),
        json!({ "token": text }).to_string().replace('}', ""),
        format!("\"{text}"),
        format!("{{\"a\": {text}}}"),
        format!("{{{text}}}"),
        format!("1 {text}"),
        text.clone(),
        format!("<html>{text}</html>"),
    ];
    for body in bodies {
        api.set_reply(move |_| RawReply::ok(body.clone()));
        let (all, url) = (&mut canaries, url.as_str());
        of_wrong_shape::<Value>(all, url, &client).await;
        of_wrong_shape::<u64>(all, url, &client).await;
        of_wrong_shape::<bool>(all, url, &client).await;
        of_wrong_shape::<char>(all, url, &client).await;
        of_wrong_shape::<()>(all, url, &client).await;
        of_wrong_shape::<String>(all, url, &client).await;
        of_wrong_shape::<Vec<u8>>(all, url, &client).await;
        of_wrong_shape::<Option<i8>>(all, url, &client).await;
        of_wrong_shape::<std::net::IpAddr>(all, url, &client).await;
        of_wrong_shape::<BTreeMap<String, u64>>(all, url, &client).await;
        of_wrong_shape::<BTreeMap<u8, String>>(all, url, &client).await;
        of_wrong_shape::<(String, u8)>(all, url, &client).await;
        of_wrong_shape::<Result<u8, String>>(all, url, &client).await;
        of_wrong_shape::<std::time::Duration>(all, url, &client).await;
    }
    canaries.end();
}

#[tokio::test]
async fn inv16_a_challenge_that_echoes_the_token_is_not_told() {
    let canary = Canary::token("token");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let api = Origin::start(|request| {
        let token = request.header("authorization").unwrap_or_default();
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{token}\"");
        RawReply::status(401)
            .with_header("www-authenticate", challenge)
            .with_body(json!({ "got": token }).to_string())
    })
    .await
    .expect("a server");
    let client = client(api.url(), &text);
    let response = client.get(format!("/x?{}", query(&text))).send().await.expect("an answer");
    canaries.look_at_debug("a 401", &response);
    canaries.look_at_error("a 401", &response.error_for_status().expect_err("a 401"));
    let response = client.get("/x").send().await.expect("an answer");
    canaries.look_at_error("a 401 as JSON", &response.json::<u64>().await.expect_err("an object"));

    // A manager whose renewal fails too. That error names both failures.
    let answer = json!({ "access_token": text }).to_string();
    let token_endpoint = Origin::start(move |_| RawReply::ok(answer.clone())).await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(token_endpoint.url(), "id", text.as_str());
    let manager = TokenManager::new(provider.build().expect("a provider"));
    manager.get_token().await.expect("a token");
    let echo = json!({ "error": "invalid_client", "error_description": text }).to_string();
    token_endpoint.set_reply(move |_| RawReply::status(401).with_body(echo.clone()));
    let client = HttpClient::builder(api.url()).with_token_auth(manager).build().expect("a client");
    let error = client.get(format!("/x?{}", query(&text))).send().await.expect_err("no other token");
    assert!(error.is_authentication());
    canaries.look_at_error("a failed renewal", &error);
    let error = client.get(format!("/x?{}", query(&text))).send().await.expect_err("no token");
    canaries.look_at_error("a cool-down", &error);
    canaries.end();
}

#[tokio::test]
async fn inv16_redirects_are_not_told() {
    let canary = Canary::token("token");
    let text = canary.to_string();
    let query = query(&text);
    let mut canaries = Canaries::new([canary]);
    let closed = once(String::new()).await;
    let home = Origin::start(|_| RawReply::ok("home")).await.expect("a server");
    let foreign = Origin::start(|_| RawReply::ok("foreign")).await.expect("a server");
    let client = client(home.url(), &text);
    let core: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
    let locations = [
        format!("/again?{query}"),
        format!("ftp://x.example.com/?{query}"),
        format!("{core}:{query}"),
        format!("{}/x?{query}#{query}", foreign.url()),
        format!("http://{core}:{core}@{}/?{query}", foreign.address()),
        format!("http://{core}:{core}@{closed}/?{query}"),
        format!("http://[{core}/?{query}"),
        format!("//{core} /?{query}"),
    ];
    for location in locations {
        for status in [302, 307] {
            let target = location.clone();
            home.set_reply(move |_| RawReply::redirect(status, &target));
            for method in [Method::GET, Method::POST] {
                let url = format!("/start?{query}");
                let bytes = client.request(method.clone(), &url).body(text.clone());
                let stream = client.request(method.clone(), &url).body_stream(text.clone());
                for request in [client.request(method.clone(), &url), bytes, stream] {
                    let what = format!("redirect to {}", location.replace(&query, "…").replace(&core, "…"));
                    match request.send().await {
                        Ok(response) => canaries.look_at_debug(&what, &response),
                        Err(error) => canaries.look_at_error(&what, &error),
                    }
                }
            }
        }
    }
    assert!(!foreign.requests().is_empty() && home.requests().len() > 90, "redirects were followed");
    canaries.end();
}

#[tokio::test]
async fn inv16_broken_exchanges_are_not_told() {
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let query = query(&text);
    let mut canaries = Canaries::new([canary]);
    let answers = [
        String::new(),
        format!("{text}\r\n\r\n"),
        format!("HTTP/1.1 {text} {text}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{text}: x\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {text}\x01\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: {text}\r\n\r\n{text}"),
    ];
    for answer in answers {
        let case = answer.replace(&text, "…");
        let address = once(answer).await;
        let client = client(format!("http://{address}"), &text);
        let request = || client.post(format!("/x?{query}")).body(text.clone());
        canaries.look_at_error(&format!("broken: {case:?}"), &request().send().await.expect_err(&case));
        let refused = request().send().await.expect_err("refused");
        assert!(refused.is_connect());
        canaries.look_at_error("connection refused", &refused);
    }
    let bodies = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{text}"),
        format!("HTTP/1.1 401 No\r\ncontent-length: 1000\r\n\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{text}\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;{text}\r\nhello{text}\r\n"),
    ];
    for body in bodies {
        for read in ["text", "bytes", "json", "chunk"] {
            let client = client(format!("http://{}", once(body.clone()).await), &text);
            let response = client.get(format!("/x?{query}")).send().await.expect("an answer");
            canaries.look_at_debug("HttpResponse", &response);
            let error = failure(response, read).await;
            canaries.look_at_error(&format!("cut while read as {read}"), &error);
        }
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let client = client(format!("http://{}", silent.local_addr().expect("an address")), &text);
    let request = client.get(format!("/x?{query}")).timeout(std::time::Duration::from_millis(20));
    let error = request.send().await.expect_err("a time-out");
    assert!(error.is_timeout());
    canaries.look_at_error("time-out", &error);
    canaries.end();
}

async fn failure(mut response: HttpResponse, read: &str) -> requestforge::HttpClientError {
    match read {
        "text" => response.text().await.expect_err("cut"),
        "bytes" => response.bytes().await.expect_err("cut"),
        "json" => response.json::<Value>().await.expect_err("cut"),
        _ => loop {
            match response.chunk().await {
                Ok(chunk) => assert!(chunk.is_some(), "cut"),
                Err(error) => break error,
            }
        },
    }
}

/// As with token endpoints: `h2` shows the last words in `Display` and `Debug`.
#[tokio::test]
async fn inv16_the_last_words_of_a_connection_are_not_told() {
    let canary = Canary::token("token");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let echo = text.clone();
    let api = Http2Server::start(move |_| Reply::GoAway(format!("calm down, {echo}"))).await;
    let client = HttpClient::builder(api.url())
        .with_bearer_token(text.as_str())
        .with_http(reqwest_over_http2)
        .build()
        .expect("a client");
    let error = client.get("/x").send().await.expect_err("a cut connection");
    canaries.look_at_error("GOAWAY", &error);
    canaries.end();
}
