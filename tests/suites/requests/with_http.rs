//! The settings of `reqwest` that a caller may change, and those that stay this client's.

use std::time::Duration;

use forge_tests::{Origin, Proxy, RawReply};
use requestforge::HttpClient;
use requestforge::client::HttpClientBuilder;
use requestforge::reqwest::redirect::Policy;
use requestforge::reqwest::retry;

/// A client whose `reqwest` settings follow redirects, send a `Referer`, and send failed requests again.
fn misled(origin: &Origin) -> HttpClientBuilder {
    let host = origin.address().ip().to_string();
    HttpClient::builder(origin.url()).with_http(move |http| {
        let again = retry::for_host(host.clone()).no_budget().classify_fn(|seen| match seen.status() {
            Some(status) if status.is_server_error() => seen.retryable(),
            _ => seen.success(),
        });
        http.redirect(Policy::limited(5)).referer(true).retry(again)
    })
}

#[tokio::test]
async fn inv13_redirects_and_referer_stay_this_clients_whatever_reqwest_is_told() {
    let elsewhere = Origin::start(|_| RawReply::ok("there")).await.expect("a server");
    let to = format!("{}/there", elsewhere.url());
    let origin = Origin::start(move |_| RawReply::redirect(302, to.as_str())).await.expect("a server");

    let client = misled(&origin).with_redirects(false).with_api_key("canary").build().expect("a client");
    let response = client.get("/here?secret=1").send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), elsewhere.requests().len()), (302, 0));

    let client = misled(&origin).with_api_key("canary").build().expect("a client");
    let response = client.get("/here?secret=1").send().await.expect("an answer");
    assert_eq!((response.attempts(), response.text().await.expect("a body")), (2, "there".to_owned()));
    let [there] = &elsewhere.requests()[..] else { panic!("one request: {elsewhere:?}") };
    assert_eq!((there.header("referer"), there.header("x-api-key")), (None, None));
}

#[tokio::test]
async fn inv21_nothing_is_sent_again_whatever_reqwest_is_told() {
    let origin = Origin::start(|_| RawReply::status(503)).await.expect("a server");
    let client = misled(&origin).build().expect("a client");
    let response = client.get("/").send().await.expect("an answer");
    assert_eq!((response.attempts(), origin.requests().len()), (1, 1));
}

#[tokio::test]
async fn the_time_out_is_this_clients_whatever_reqwest_is_told() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    // This time is too short for any answer.
    let client = HttpClient::builder(origin.url()).with_http(|http| http.timeout(Duration::from_nanos(1)));
    client.build().expect("a client").get("/").send().await.expect("an answer");
}

#[tokio::test]
async fn other_settings_of_reqwest_are_the_callers_whenever_they_were_said() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let proxy = Proxy::start(origin.address().port()).await.expect("a proxy");
    let client = HttpClient::builder(format!("http://127.0.0.1:{}", proxy.port()))
        .with_http(|http| http.user_agent("first"))
        .with_http(|http| http.user_agent("own/1").pool_max_idle_per_host(0))
        .with_pool_max_idle_per_host(10)
        .build()
        .expect("a client");
    for _ in 0..2 {
        client.get("/").send().await.expect("an answer").bytes().await.expect("a body");
    }
    assert_eq!(proxy.accepted(), 2, "no connection is kept");
    assert_eq!(origin.requests()[1].header("user-agent").as_deref(), Some("own/1"));
}
