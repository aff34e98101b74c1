use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{MultiStepServer, Step};
use crate::raw_http::{Answer, Call};

async fn server() -> MultiStepServer {
    MultiStepServer::start().await.expect("a port")
}

fn url(server: &MultiStepServer, step: Step) -> String {
    format!("{}{}", server.base_url(), step.path())
}

fn app_call(server: &MultiStepServer, secret: &str) -> Call {
    let client = [("client_id", server.client_id()), ("client_secret", secret)];
    Call::form(&url(server, Step::App), &[&[("grant_type", "client_credentials")], &client[..]].concat())
}

fn user_call(server: &MultiStepServer, app_token: &str) -> Call {
    let body = json!({ "username": server.username(), "password": server.password() });
    json_call(&url(server, Step::User), &body).header("x-app-token", app_token)
}

fn json_call(url: &str, body: &serde_json::Value) -> Call {
    Call::new("POST", url).header("content-type", "application/json").body(&body.to_string())
}

fn device_fields<'s>(server: &'s MultiStepServer, key: &'s str) -> [(&'static str, &'s str); 2] {
    [("device_id", server.device_id()), ("device_key", key)]
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

async fn app_token(server: &MultiStepServer) -> String {
    token(&app_call(server, server.client_secret()).send().await)
}

async fn user_token(server: &MultiStepServer) -> String {
    token(&user_call(server, &app_token(server).await).send().await)
}

async fn session(server: &MultiStepServer, user_token: &str) -> Answer {
    Call::new("POST", &url(server, Step::Session)).bearer(user_token).send().await
}

async fn error(call: Call) -> (u16, String) {
    let answer = call.send().await;
    (answer.status, answer.json()["error"].as_str().expect("an error").to_owned())
}

fn refusal(error: &str) -> (u16, String) {
    (401, error.to_owned())
}

#[tokio::test]
async fn one_token_buys_the_next_and_the_last_one_opens_the_api() {
    let server = server().await;
    let user_token = user_token(&server).await;
    let answer = session(&server, &user_token).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "expires_in": 3600 })));
    let id = answer.header("x-session-id").expect("an id").to_owned();
    assert!(server.is_valid(Step::User, &user_token) && server.is_valid(Step::Session, &id));

    let get = |path: &str| Call::get(&format!("{}{path}", server.base_url()));
    for (call, status) in [
        (get("/orders").header("x-session-id", &id), 200),
        (get("/orders").bearer(&id), 200),
        (get("/user/profile").bearer(&user_token), 200),
        (get("/orders").bearer(&user_token), 401),
        (get("/orders"), 401),
        (get("/user/profile").bearer(&id), 401),
        (get("/user/profile").header("x-session-id", &id), 401),
        (get("/users").bearer(&user_token), 401),
    ] {
        assert_eq!(call.send().await.status, status);
    }
    assert_eq!((server.requests(), server.accepted(), server.rejected()), (8, 3, 5));
    assert_eq!(server.all_calls(), [1, 0, 1, 1]);
    assert_eq!(server.tokens_issued(Step::Session), [id]);
}

#[tokio::test]
async fn every_credential_is_checked() {
    let server = server().await;
    let app = app_token(&server).await;
    assert_eq!(error(app_call(&server, "wrong")).await, refusal("invalid_client"));
    let user = json!({ "username": server.username(), "password": server.password() });
    let user_url = url(&server, Step::User);
    assert_eq!(error(json_call(&user_url, &user)).await, refusal("invalid_token"));
    assert_eq!(error(user_call(&server, "made-up")).await, refusal("invalid_token"));
    let wrong = json!({ "username": server.username(), "password": "wrong" });
    let call = json_call(&user_url, &wrong).header("x-app-token", &app);
    assert_eq!(error(call).await, refusal("invalid_grant"));
    let call = Call::new("POST", &user_url).header("x-app-token", &app);
    assert_eq!(error(call).await, refusal("invalid_grant"));

    let good = token(&user_call(&server, &app).send().await);
    assert_eq!(session(&server, &app).await.status, 401);
    assert_eq!(session(&server, "made-up").await.status, 401);
    assert_eq!(error(Call::new("POST", &url(&server, Step::Session))).await, refusal("invalid_token"));
    for step in [Step::App, Step::User] {
        server.revoke(step);
    }
    assert_eq!(session(&server, &good).await.status, 401);
    assert_eq!(error(user_call(&server, &app)).await, refusal("invalid_token"));

    let device_url = url(&server, Step::Device);
    for key in ["wrong", ""] {
        let call = Call::form(&device_url, &device_fields(&server, key));
        assert_eq!(error(call).await, refusal("invalid_client"));
    }
    assert_eq!(Step::ALL.map(|step| server.refused(step)), [1, 2, 5, 4]);
    assert_eq!(Step::ALL.map(|step| server.tokens_issued(step).len()), [1, 0, 1, 0]);
}

#[tokio::test]
async fn what_cannot_be_read_is_no_matter_of_credentials() {
    let server = server().await;
    let client = json!({
        "grant_type": "client_credentials",
        "client_id": server.client_id(),
        "client_secret": server.client_secret(),
    });
    let app_url = url(&server, Step::App);
    for call in [
        json_call(&app_url, &client),
        Call::form(&app_url, &[("client_id", "a"), ("client_id", "b")]),
        Call::new("POST", &app_url),
        json_call(&app_url, &client).header("x-app-token", "x"),
    ] {
        assert_eq!(call.send().await.status, 400);
    }
    assert_eq!(Call::form(&app_url, &[("grant_type", "magic")]).send().await.status, 400);
    let broken = Call::new("POST", &url(&server, Step::Device));
    assert_eq!(broken.header("content-type", "application/json").body("{").send().await.status, 400);
    assert_eq!(Call::get(&app_url).send().await.status, 405);
    assert_eq!(server.refused(Step::App), 0);
}

#[tokio::test]
async fn fields_may_come_in_many_forms() {
    let server = server().await;
    let fields = device_fields(&server, server.device_key());
    let device_url = url(&server, Step::Device);
    let query = serde_urlencoded::to_string(fields).expect("a query");
    let body = json!({ fields[0].0: fields[0].1, fields[1].0: fields[1].1 });
    for call in [
        Call::form(&device_url, &fields),
        Call::get(&format!("{device_url}?{query}")),
        json_call(&device_url, &body),
        json_call(&device_url, &json!({ "credentials": body })),
    ] {
        assert!(server.is_valid(Step::Device, &token(&call.send().await)));
    }
}

#[tokio::test]
async fn what_the_user_needs_can_be_told() {
    let server = server().await;
    let fields = [("username", server.username()), ("password", server.password())];
    let call = || Call::form(&url(&server, Step::User), &fields);
    server.want_app_token(false);
    assert_eq!(call().send().await.status, 200);
    assert_eq!(call().header("x-app-token", "made-up").send().await.status, 401);
    server.want_device_token(true);
    assert_eq!(call().send().await.status, 401);
    assert_eq!(call().header("x-device-token", "made-up").send().await.status, 401);
    let device = Call::form(&url(&server, Step::Device), &device_fields(&server, server.device_key()));
    let device = token(&device.send().await);
    assert_eq!(call().header("x-device-token", &device).send().await.status, 200);
}

#[tokio::test]
async fn a_step_can_be_slow_failing_and_short_lived() {
    let server = server().await;
    server.set_delay(Step::App, Duration::from_millis(60));
    server.set_failing(Step::App, Some(StatusCode::SERVICE_UNAVAILABLE));
    server.set_retry_after(Step::App, Some(2));
    let start = std::time::Instant::now();
    let answer = app_call(&server, server.client_secret()).send().await;
    assert!(start.elapsed() >= Duration::from_millis(60));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    server.set_failing(Step::App, None);
    server.set_lifetime(Step::App, Some(Duration::ZERO));
    let answer = app_call(&server, server.client_secret()).send().await;
    assert_eq!((answer.json()["expires_in"].as_u64(), answer.header("retry-after")), (Some(0), None));
    assert!(!server.is_valid(Step::App, &token(&answer)));
    server.set_lifetime(Step::App, None);
    let answer = app_call(&server, server.client_secret()).send().await;
    assert_eq!(answer.json()["expires_in"], serde_json::Value::Null);
    assert!(server.is_valid(Step::App, &token(&answer)));
    assert_eq!((server.calls(Step::App), server.refused(Step::App)), (3, 0));
}

#[tokio::test]
async fn an_answer_may_have_another_shape() {
    let server = server().await;
    server.set_answer(Step::App, |token| json!({ "data": { "token": token } }));
    let answer = app_call(&server, server.client_secret()).send().await.json();
    assert!(server.is_valid(Step::App, answer["data"]["token"].as_str().expect("a token")));
    assert!(answer.get("access_token").is_none());
}

#[tokio::test]
async fn refusals_and_failures_may_echo_all_that_came() {
    let server = server().await;
    let secret = "not the right one";
    let description = async |call: Call| {
        call.send().await.json()["error_description"].as_str().expect("a description").to_owned()
    };
    assert!(!description(app_call(&server, secret)).await.contains("not"));
    server.set_echoing(Step::App, true);
    let echo = description(app_call(&server, secret).header("x-key", "in a header")).await;
    for part in ["POST /v1/app/token", "x-key: in a header", "client_secret=not+the+right+one"] {
        assert!(echo.contains(part), "{part} in {echo}");
    }
    server.set_failing(Step::App, Some(StatusCode::BAD_GATEWAY));
    assert!(description(app_call(&server, secret)).await.contains("not+the+right+one"));
}

#[tokio::test]
async fn calls_under_way_at_once_are_held_and_counted() {
    let server = server().await;
    server.hold(Step::App);
    server.hold(Step::Device);
    let send = |call: Call| -> JoinHandle<Answer> { tokio::spawn(call.send()) };
    let app = send(app_call(&server, server.client_secret()));
    server.until_held(1).await;
    assert_eq!(server.most_at_once(), 1);
    let fields = device_fields(&server, server.device_key());
    let device = send(Call::form(&url(&server, Step::Device), &fields));
    server.until_held(2).await;
    assert_eq!((server.all_calls(), server.most_at_once()), ([1, 1, 0, 0], 2));
    assert!(!app.is_finished() && !device.is_finished());
    server.release(Step::App);
    token(&app.await.expect("an answer"));
    server.hold(Step::App);
    let app = send(app_call(&server, server.client_secret()));
    server.until_held(2).await;
    let address = server.server.address;
    drop(server);
    token(&app.await.expect("an answer"));
    token(&device.await.expect("an answer"));
    crate::server::until_refused(address).await;
}

#[tokio::test]
async fn it_tells_no_secret() {
    let server = server().await;
    let token = app_token(&server).await;
    let shown = format!("{server:?}");
    assert!(shown.contains("app_token") && shown.contains("requests: 0"), "{shown}");
    for secret in [server.client_secret(), server.device_key(), server.password(), &token] {
        assert!(!shown.contains(secret));
    }
}
