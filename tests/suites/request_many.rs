//! Many requests at once: how many are under way, in what order results come, and what ends it all; and what
//! a request looks like as a command line.

#![allow(clippy::expect_used)]

use std::future::Future;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply};
use futures_util::StreamExt;
use futures_util::task::noop_waker;
use requestforge::{
    ApiKeyAuth, ClientCredentialsTokenProvider, HttpClient, RequestBuilder, StaticTokenSource, TokenAuth,
    TokenData, TokenManager, reqwest,
};

/// An API whose answers are held back until a test lets them go, and a client of it. Without a token, each
/// answer is a 401.
async fn held(requests: usize) -> (Api, HttpClient) {
    let server = AuthorizationServer::start().await.expect("a server");
    let api = Api::start(&server).await.expect("an API");
    (0..requests).for_each(|id| api.hold(&id.to_string()));
    let client = HttpClient::builder(api.base_url()).build().expect("a client");
    (api, client)
}

fn numbered(client: &HttpClient, count: usize) -> impl Iterator<Item = RequestBuilder> + use<> {
    let client = client.clone();
    (0..count).map(move |id| client.get("/users").header("x-request-id", id.to_string()))
}

#[tokio::test]
async fn only_so_many_are_under_way() {
    let (api, client) = held(20).await;
    let mut results = client.request_many(numbered(&client, 20)).max_workers(3);
    for answered in 0..20 {
        let under_way = 3.min(20 - answered);
        let release = async {
            api.until_waiting(under_way).await;
            assert_eq!(api.requests(), answered + under_way);
            api.release(&answered.to_string());
            std::future::pending::<()>().await;
        };
        let (index, result) = tokio::select! {
            biased;
            result = results.next() => result.expect("a result"),
            () = release => unreachable!("it never ends"),
        };
        assert_eq!((index, result.expect("an answer").status_code().as_u16()), (answered, 401));
    }
    assert!(results.next().await.is_none());
}

#[tokio::test]
async fn results_come_as_they_come_and_say_which_they_are() {
    let (api, client) = held(4).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::clone(&seen);
    let mut results = client
        .request_many(numbered(&client, 4))
        .on_progress(move |answered| progress.lock().expect("no panic").push(answered));
    let mut order = Vec::new();
    for id in [2, 0, 3, 1] {
        let next = async {
            api.until_waiting(4 - order.len()).await;
            api.release(&id.to_string());
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            result = results.next() => order.push(result.expect("a result").0),
            () = next => unreachable!("it never ends"),
        }
    }
    assert_eq!(order, [2, 0, 3, 1]);
    assert!(results.next().await.is_none());
    assert_eq!(*seen.lock().expect("no panic"), [1, 2, 3, 4]);
}

/// Of ten requests the third cannot be built; two are under way at a time, and the first waits for ever.
fn with_a_mistake(client: &HttpClient, taken: &Arc<AtomicUsize>) -> impl Iterator<Item = RequestBuilder> {
    let (client, taken) = (client.clone(), Arc::clone(taken));
    (0..10).map(move |id: usize| {
        taken.fetch_add(1, Ordering::SeqCst);
        let request = client.get("/users").header("x-request-id", id.to_string());
        if id == 2 { request.header("x-bad", "a\nb") } else { request }
    })
}

#[tokio::test]
async fn the_first_error_is_the_last_result_for_who_fails_fast() {
    let (api, client) = held(1).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let results = client.request_many(with_a_mistake(&client, &taken)).max_workers(2).fail_fast(true);
    let results: Vec<_> = results.collect().await;
    let [(1, Ok(_)), (2, Err(error))] = &results[..] else { panic!("{results:?}") };
    assert!(error.is_builder());
    assert_eq!(taken.load(Ordering::SeqCst), 3);
    assert!(api.requests() <= 2);
}

#[tokio::test]
async fn an_error_is_a_result_like_others_for_who_does_not() {
    let (api, client) = held(0).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut results: Vec<_> = client.request_many(with_a_mistake(&client, &taken)).collect().await;
    results.sort_by_key(|(index, _)| *index);
    assert!(results.iter().enumerate().all(|(index, (said, _))| index == *said));
    let failed: Vec<_> =
        results.iter().filter(|(_, result)| result.is_err()).map(|(index, _)| *index).collect();
    assert_eq!((failed, results.len(), api.requests()), (vec![2], 10, 9));
}

#[tokio::test]
async fn an_iterator_that_has_ended_is_not_asked_again() {
    let (_api, client) = held(0).await;
    let mut asked = 0;
    let requests = std::iter::from_fn(|| {
        asked += 1;
        (asked != 3).then(|| client.get("/users"))
    });
    let results: Vec<_> = client.request_many(requests).take(9).collect().await;
    assert_eq!((results.len(), asked), (2, 3));
}

#[tokio::test]
async fn what_is_dropped_sends_nothing_more() {
    let (api, client) = held(20).await;
    let mut results = client.request_many(numbered(&client, 20));
    {
        let mut next = pin!(results.next());
        tokio::select! {
            biased;
            _ = &mut next => unreachable!("all are held back"),
            () = api.until_waiting(5) => {}
        }
        let pending = next.as_mut().poll(&mut Context::from_waker(&noop_waker()));
        assert!(pending.is_pending());
    }
    drop(results);
    api.release_all();
    // A request of its own passes after all that was to come.
    client.get("/users").send().await.expect("an answer");
    assert_eq!(api.requests(), 6);
}

/// What a shell makes of a command line.
#[cfg(unix)]
fn words(command_line: &str) -> Vec<String> {
    let script = format!("curl() {{ printf '%s\\0' \"$@\"; }}\n{command_line}");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    assert!(output.status.success(), "{command_line}");
    let words = String::from_utf8(output.stdout).expect("text");
    words.split_terminator('\0').map(ToOwned::to_owned).collect()
}

#[cfg(unix)]
#[tokio::test]
async fn a_shell_reads_of_a_command_line_what_would_be_sent() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let client = HttpClient::builder(origin.url())
        .with_header("x-default", "it's \"quoted\" $HOME `x` \\")
        .with_basic_auth("user", "pass")
        .build()
        .expect("a client");
    let request = client.put("/a b/[1]?q=it's").header("x-own", "").body("it's\n{\"a\": [1]} 'x'");
    let url = format!("{}/a%20b/[1]?q=it%27s", origin.url());
    let shown = request.to_curl().with_secrets().to_string();
    assert_eq!(
        words(&shown),
        [
            "-X",
            "PUT",
            "--globoff",
            &url,
            "-H",
            "x-default: it's \"quoted\" $HOME `x` \\",
            "-H",
            "x-own;",
            "-H",
            "authorization: Basic dXNlcjpwYXNz",
            "-H",
            "content-type:",
            "--data-raw",
            "it's\n{\"a\": [1]} 'x'",
        ]
    );
    request.send().await.expect("an answer");
    let [sent] = &origin.requests()[..] else { panic!("not one request") };
    let sent = String::from_utf8_lossy(&sent.bytes).into_owned();
    assert!(sent.contains("/a%20b/[1]?q=it%27s") && sent.ends_with("it's\n{\"a\": [1]} 'x'"), "{sent}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_shell_reads_any_method_and_runs_none() {
    let client = HttpClient::builder("https://api.example.com").build().expect("a client");
    for method in ["`false`", "A|B", "A&B", "$HOME", "A'B", "#", "*", "~", "!", "M-SEARCH", "VERSION_CONTROL"]
    {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let shown = client.request(method.clone(), "/").to_curl().to_string();
        assert_eq!(words(&shown), ["-X", method.as_str(), "https://api.example.com/"], "{shown}");
    }
}

#[tokio::test]
async fn a_command_line_has_no_fragment_as_that_is_not_sent() {
    let client = HttpClient::builder("https://api.example.com").build().expect("a client");
    for (reference, shown) in
        [("/a?q=1#canary", "/a?q=1"), ("/a#canary?q=1", "/a"), ("https://api.example.com/#canary", "/")]
    {
        let request = client.get(reference);
        let line = format!("curl 'https://api.example.com{shown}'");
        assert_eq!(request.to_curl().to_string(), line);
        assert_eq!(request.to_curl().with_secrets().to_string(), line);
    }
}

#[tokio::test]
async fn inv16_a_command_line_shows_no_secret_unless_it_is_asked_for() {
    let server = AuthorizationServer::start().await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    let manager = TokenManager::new(provider.build().expect("a provider"));
    let base = "https://api.example.com";
    let client = HttpClient::builder(base).with_token_auth(manager.clone()).with_header("cookie", "s=canary");
    let client = client.build().expect("a client");
    let request = || {
        let request = client.post("/users").query(&[("page", "2"), ("api_key", "canary")]);
        request.json(&serde_json::json!({"name": "x", "password": "canary"}))
    };
    let masked = |authorization: &str| {
        format!(
            "curl -X POST 'https://api.example.com/users?page=2&api_key=***' -H 'cookie: ***' \
             -H 'content-type: application/json'{authorization} \
             --data-raw '{{\"name\":\"x\",\"password\":\"***\"}}'"
        )
    };
    // No token is fetched for it.
    assert_eq!(request().to_curl().to_string(), masked(" -H 'authorization: ***'"));
    assert_eq!(server.token_calls(), 0);
    let token = manager.get_token().await.expect("a token");
    assert_eq!(request().to_curl().to_string(), masked(" -H 'authorization: ***'"));
    assert_eq!(request().no_auth().to_curl().to_string(), masked(""));
    let request = request();
    let shown = request.to_curl().with_secrets();
    assert!(shown.to_string().contains(token.access_token()) && shown.to_string().contains("s=canary"));
    assert_eq!(format!("{shown:?}"), masked(" -H 'authorization: ***'"));

    let other = StaticTokenSource::new(TokenData::new("canary-token")).expect("a source");
    let elsewhere = client.get("https://other.example.com/").auth(TokenAuth::new(other));
    let shown = elsewhere.to_curl().with_secrets().to_string();
    assert_eq!(shown, "curl 'https://other.example.com/'", "it would not be sent there");

    let own =
        client.get("/").auth(ApiKeyAuth::new("the-key").header_name("x-own")).header("x-own", "anothers-key");
    assert_eq!(own.to_curl().to_string(), "curl 'https://api.example.com/' -H 'cookie: ***' -H 'x-own: ***'");

    for (request, line) in [
        (client.get("https://u:canary@api.example.com/"), "# no request: "),
        (client.get("/").header("x-bad", "canary\n"), "# no request: "),
        (client.post("/").no_auth().body("canary"), "curl -X POST"),
        (client.post("/").no_auth().body(b"\xffcanary".to_vec()), "curl -X POST"),
        (client.head("/?token=canary").no_auth(), "curl --head"),
    ] {
        let shown = request.to_curl().to_string();
        assert!(shown.starts_with(line) && !shown.contains("canary"), "{shown}");
    }
}
