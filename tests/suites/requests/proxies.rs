//! A client calls this machine without a proxy. Attack: a proxy on another machine would see the credentials, and
//! would connect to its own loopback address.

use std::net::{IpAddr, Ipv4Addr};

use forge_tests::{Origin, RawReply};
use requestforge::HttpClient;
use requestforge::client::HttpClientBuilder;
use requestforge::reqwest::Proxy;

use super::origin;

/// A client whose settings make `reqwest` connect through this proxy.
fn through(proxy: &Origin, base_url: &str) -> HttpClientBuilder {
    let proxy = proxy.url();
    HttpClient::builder(base_url)
        .with_bearer_token("canary")
        .with_http(move |http| http.proxy(Proxy::all(&proxy).expect("a proxy")))
}

#[tokio::test]
async fn inv13_this_machine_is_called_without_a_proxy() {
    let proxy = origin(RawReply::ok("proxy")).await;
    let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    for (home, host) in [
        (origin(RawReply::ok("home")).await, "127.0.0.1"),
        (origin(RawReply::ok("home")).await, "localhost"),
        (origin(RawReply::ok("home")).await, "LOCALHOST"),
        (origin(RawReply::ok("home")).await, "[::ffff:127.0.0.1]"),
        (Origin::start_at(ip, |_| RawReply::ok("home")).await.expect("a server"), "127.0.0.2"),
    ] {
        let url = format!("http://{host}:{}", home.address().port());
        let client = through(&proxy, &url).build().expect("a client");
        let response = client.get("/x").send().await.expect("an answer");
        assert_eq!(response.text().await.expect("a body"), "home", "{host}");
        assert!(home.requests()[0].contains("canary"), "{host}");

        // The same holds if the base URL is on another machine.
        let client = through(&proxy, "http://api.example.com").build().expect("a client");
        let response = client.get(format!("{url}/x")).send().await.expect("an answer");
        assert_eq!(response.text().await.expect("a body"), "home", "{host}");
    }
    assert!(proxy.requests().is_empty(), "{:?}", proxy.requests());
}

#[tokio::test]
async fn all_other_machines_are_called_through_the_proxy() {
    let home = origin(RawReply::ok("home")).await;
    let to = home.url();
    let proxy = Origin::start(move |request| match request.target() {
        "http://api.example.com/away" => RawReply::redirect(302, to.as_str()),
        _ => RawReply::ok("proxy"),
    });
    let proxy = proxy.await.expect("a server");
    let client = through(&proxy, &home.url()).build().expect("a client");
    let local = through(&proxy, "http://api.example.com").build().expect("a client");
    for client in [client, local] {
        for (url, body) in [
            ("http://api.example.com/x", "proxy"),
            ("http://localhost.example.com/x", "proxy"),
            ("http://127.0.0.1.example.com/x", "proxy"),
            // The proxy redirects this one to this machine.
            ("http://api.example.com/away", "home"),
        ] {
            let response = client.get(url).send().await.expect("an answer");
            assert_eq!(response.text().await.expect("a body"), body, "{url}");
        }
    }
    assert_eq!((proxy.requests().len(), home.requests().len()), (8, 2));
}
