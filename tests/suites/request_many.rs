//! Many requests at once: how many are under way, the order of the results, and the events that end it all.
//! Also requests as command lines.

#![allow(clippy::expect_used)]

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Context;
use std::time::Duration;

use forge_tests::{Api, AuthorizationServer, Origin, RawReply, RecordedRequest};
use futures_util::StreamExt;
use futures_util::task::noop_waker;
use requestforge::client::RequestBuilder;
use requestforge::reqwest::multipart::{Form, Part};
use requestforge::{
    ApiKeyAuth, ClientCredentialsTokenProvider, HttpClient, StaticTokenSource, TokenAuth, TokenData,
    TokenManager, reqwest,
};

/// An API that holds its answers back until a test lets them go, and a client of it. Without a token each
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

/// Ten requests. The client cannot build the third one. Two are under way at a time, and the first one waits
/// for ever.
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
    // If another request were still to come, it would arrive before this one.
    client.get("/users").send().await.expect("an answer");
    assert_eq!(api.requests(), 6);
}

/// The words into which a shell splits a command line.
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

/// The request that arrives when a shell runs a command line; `None` if this machine has no `curl`.
#[cfg(unix)]
async fn run(command_line: String, directory: &Path, origin: &Origin) -> Option<RecordedRequest> {
    Command::new("curl").arg("--version").output().ok()?;
    let before = origin.requests().len();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command_line} --silent --show-error")]).current_dir(directory);
    let output =
        tokio::task::spawn_blocking(move || shell.output()).await.expect("no panic").expect("a shell");
    assert!(output.status.success(), "{command_line}: {}", String::from_utf8_lossy(&output.stderr));
    origin.requests().into_iter().nth(before)
}

/// The body of a multipart form, with a constant boundary.
#[cfg(unix)]
fn parts(request: &RecordedRequest) -> String {
    let content_type = request.header("content-type").expect("a content type");
    let boundary = content_type.strip_prefix("multipart/form-data; boundary=").expect("a form");
    String::from_utf8(request.body().to_vec()).expect("text").replace(boundary, "BOUNDARY")
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_line_for_a_multipart_form_can_be_run() {
    let origin = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let client = HttpClient::builder(origin.url()).build().expect("a client");
    let directory = std::env::temp_dir().join(format!("requestforge-curl-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("a; b.bin"), b"\xc3\xa9\n\0").expect("a file");
    let file = || {
        let part = Part::bytes(b"\xc3\xa9\n\0".to_vec()).file_name("a; b.bin");
        part.mime_str("image/png").expect("a type")
    };
    let json = || Part::text(r#"{"a": "b;\\", "pin": 1}"#).mime_str("application/json").expect("a type");
    let request = || {
        let form = Form::new().text("title", "it's @home; <b>\r\n$HOME").text("password", "canary");
        client.put("/x").multipart(form.part("image", file()).part("data", json()))
    };
    request().send().await.expect("an answer");
    let sent = parts(&origin.requests()[0]);
    let shown = request().to_curl().with_secrets().to_string();
    if let Some(arrived) = run(shown, &directory, &origin).await {
        assert!(arrived.contains("PUT /x "), "{arrived:?}");
        assert_eq!(fields(&parts(&arrived)), fields(&sent));
    }
    let masked = request().to_curl().to_string();
    assert!(!masked.contains("canary") && masked.contains("password=***"), "{masked}");
    if let Some(arrived) = run(masked, &directory, &origin).await {
        let expected = sent
            .replace("canary", "***")
            .replace(r#"{"a": "b;\\", "pin": 1}"#, r#"{"a":"b;\\","pin":"***"}"#);
        assert_eq!(fields(&parts(&arrived)), fields(&expected));
    }

    // If `curl` has no option for a part, it reads the body from standard input.
    let shown = client.post("/x").multipart(Form::new().text("a\"b=c", "canary")).to_curl().to_string();
    assert!(shown.ends_with(" --data-binary @-") && !shown.contains("canary"), "{shown}");
    std::fs::remove_dir_all(&directory).expect("the directory");
}

/// Each part of a form: the sorted words of its headers, and its value.
#[cfg(unix)]
fn fields(body: &str) -> Vec<(Vec<String>, String)> {
    let part = |part: &str| {
        let (head, value) = part.trim_start_matches("\r\n").split_once("\r\n\r\n").expect("a part");
        let mut words: Vec<_> = head.split(['\r', '\n', ';']).map(|word| word.trim().to_owned()).collect();
        words.retain(|word| !word.is_empty());
        words.sort();
        (words, value.to_owned())
    };
    body.split("--BOUNDARY").filter(|piece| piece.contains("\r\n\r\n")).map(part).collect()
}

#[tokio::test]
async fn a_command_line_contains_the_time_out_of_its_request() {
    let client = HttpClient::builder("https://api.example.com").build().expect("a client");
    let (short, long) = (Duration::from_millis(1_500), Duration::from_secs(60));
    let tiny = Duration::from_nanos(1);
    for (request, shown) in [
        (client.get("/"), ""),
        (client.get("/").timeout(short), " --max-time 1.5"),
        (client.get("/").total_timeout(long), " --max-time 60"),
        (client.get("/").timeout(long).total_timeout(short), " --max-time 1.5"),
        (client.get("/").timeout(tiny), " --max-time 0.001"),
        (client.get("/").timeout(Duration::MAX), ""),
    ] {
        let line = format!("curl{shown} 'https://api.example.com/'");
        assert_eq!(request.to_curl().to_string(), line);
    }
}

#[tokio::test]
async fn inv16_a_command_line_shows_no_query_that_is_nothing_but_a_secret() {
    let client = HttpClient::builder("https://api.example.com").build().expect("a client");
    for (query, shown) in [("AKIAIOSFODNN7EXAMPLE", "***"), ("page=2&AKIA%2BX", "page=2&***"), ("q=", "q=")] {
        let line = client.get(format!("/?{query}")).to_curl().to_string();
        assert_eq!(line, format!("curl 'https://api.example.com/?{shown}'"));
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
    // The client fetches no token for it.
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
