//! The example `axum_service`, started as a new user starts it.

#![allow(clippy::expect_used)]

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use forge_tests::{AuthorizationServer, Origin, RawReply, RedisServer};
use requestforge::HttpClient;
use requestforge::reqwest::ClientBuilder;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// The limit for each wait here. Nothing takes that long.
const LIMIT: Duration = Duration::from_secs(300);

fn example() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "forge-examples"]);
    command.args(["--bin", "axum_service", "--"]).env_remove("REQUESTFORGE_REDIS_URL").kill_on_drop(true);
    command
}

#[tokio::test]
async fn every_promise_of_the_demo_holds() {
    let run = example().arg("--demo").output().await.expect("cargo");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    println!("{told}");
}

#[tokio::test]
async fn help_names_every_option_and_what_is_missing_is_told() {
    let help = example().arg("--help").output().await.expect("cargo");
    let told = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    for option in ["--demo", "--listen", "--api-url", "--token-url", "--client-id", "--redis-url"] {
        assert!(told.contains(option), "{option} in {told}");
    }
    let bare = example().output().await.expect("cargo");
    assert_eq!(bare.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bare.stderr).contains("--api-url"));
}

/// A service as a process, and a client for it.
struct Running {
    process: Child,
    client: HttpClient,
}

impl Running {
    async fn start(authorization_server: &AuthorizationServer, api: &Origin, redis: &RedisServer) -> Self {
        let mut process = example()
            .args(["--listen", "127.0.0.1:0", "--api-url", &api.url()])
            .args(["--token-url", &authorization_server.token_url()])
            .args(["--client-id", authorization_server.client_id()])
            .env("REQUESTFORGE_CLIENT_SECRET", authorization_server.client_secret())
            .env("REQUESTFORGE_REDIS_URL", redis.url())
            .env("NO_PROXY", "127.0.0.1")
            .stdout(Stdio::piped())
            .spawn()
            .expect("cargo");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let url = loop {
            let line = timeout(LIMIT, lines.next_line()).await.expect("a line in time");
            let line = line.expect("a text").expect("it says where it listens");
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.to_owned();
            }
        };
        // The test must read the log, or the service would block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = HttpClient::builder(url).with_http(ClientBuilder::no_proxy).build().expect("a client");
        Self { process, client }
    }

    async fn user(&self) -> String {
        let response = self.client.get("/users/7").send().await.expect("an answer");
        response.error_for_status().expect("a user").text().await.expect("a body")
    }
}

#[tokio::test]
async fn processes_share_a_token_and_end_when_their_callers_have_been_served() {
    let authorization_server = AuthorizationServer::start().await.expect("a server");
    let api = Origin::start(|_| RawReply::ok(r#"{"name":"Ada"}"#)).await.expect("a server");
    let redis = RedisServer::start().await;
    let mut first = Running::start(&authorization_server, &api, &redis).await;
    let second = Running::start(&authorization_server, &api, &redis).await;
    assert_eq!(
        (first.user().await, second.user().await),
        (r#"{"name":"Ada"}"#.into(), r#"{"name":"Ada"}"#.into())
    );
    assert_eq!(authorization_server.token_calls(), 1, "two processes, one token");
    let tokens: Vec<_> = api.requests().iter().map(|request| request.header("authorization")).collect();
    assert!(tokens.len() == 2 && tokens[0].is_some() && tokens[0] == tokens[1]);

    // The test stops the service while a caller waits for a slow token call.
    authorization_server.revoke_all();
    authorization_server.set_delay(Duration::from_secs(1));
    let authorization_server = Arc::new(authorization_server);
    let judge = Arc::clone(&authorization_server);
    api.set_reply(move |request| {
        let authorization = request.header("authorization").unwrap_or_default();
        let is_valid = judge.is_valid(authorization.trim_start_matches("Bearer "));
        if is_valid { RawReply::ok("{}") } else { RawReply::status(401) }
    });
    let waiting = tokio::spawn({
        let request = first.client.get("/users/7");
        async move { request.send().await.expect("an answer").status_code().as_u16() }
    });
    timeout(LIMIT, async {
        while authorization_server.token_calls() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a token call");
    terminate(&first.process);
    assert_eq!(waiting.await.expect("no panic"), 200, "who was being served is");
    let status = timeout(LIMIT, first.process.wait()).await.expect("an end").expect("a process");
    assert!(status.success(), "{status}");
    drop(second);
}

/// `cargo run` replaces itself by the program, so this is the program's own number.
fn terminate(process: &Child) {
    let id = process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    kill_process(id.expect("it runs"), Signal::TERM).expect("terminated");
}
