//! Secrets in files that change.

use std::sync::{Arc, Mutex};

use forge_tests::{Origin, RawReply, StatusCode};
use requestforge::{AuthenticationError, HttpClient};
use serde_json::{Value, json};

use crate::world::{SecretFile, World, get, in_each_format};

#[tokio::test]
async fn a_client_secret_that_changes_is_read_for_the_next_token() {
    let world = World::start().await;
    for (format, config) in in_each_format(&world.service()) {
        let client = config.client().expect("a client");
        world.secret.write("of yesterday");
        let error = client.get("/users").send().await.expect_err("a wrong secret");
        assert!(
            error.authentication_error().is_some_and(AuthenticationError::is_invalid_client),
            "{format}: {error:?}"
        );
        world.secret.write(world.server.client_secret());
        assert_eq!(get(&client, "/users").await.status_code(), 200, "{format}");
    }
}

/// An API that wants this value in this header, and records its requests.
async fn api(header: &'static str, wanted: &Arc<Mutex<String>>) -> Origin {
    let wanted = Arc::clone(wanted);
    Origin::start(move |request| {
        let wanted = wanted.lock().expect("no panic").clone();
        if request.header(header) == Some(wanted) { RawReply::ok("") } else { RawReply::status(401) }
    })
    .await
    .expect("a server")
}

async fn rotates(credentials: Value, header: &'static str, value: fn(&str) -> String, secret: &SecretFile) {
    let wanted = Arc::new(Mutex::new(value("first")));
    let api = api(header, &wanted).await;
    let mut service = credentials;
    service["base_url"] = json!(api.url());
    for (format, config) in in_each_format(&service) {
        secret.write("first\n");
        *wanted.lock().expect("no panic") = value("first");
        let client: HttpClient = config.client().expect("a client");
        assert_eq!(get(&client, "/").await.status_code(), 200, "{format}: {header}");

        // The API wants the second secret before the file has it. The client has no other credential, so it does not
        // send the request again.
        *wanted.lock().expect("no panic") = value("second");
        api.clear();
        assert_eq!(get(&client, "/").await.status_code(), StatusCode::UNAUTHORIZED, "{format}: {header}");
        assert_eq!(api.requests().len(), 1, "{format}: {header}");
    }
    // A client of its own, because a manager whose last renewal did not help waits before it reads the file again.
    for (format, config) in in_each_format(&service) {
        secret.write("first\n");
        *wanted.lock().expect("no panic") = value("first");
        let client: HttpClient = config.client().expect("a client");
        assert_eq!(get(&client, "/").await.status_code(), 200, "{format}: {header}");
        secret.write("second\r\n");
        *wanted.lock().expect("no panic") = value("second");
        api.clear();
        assert_eq!(get(&client, "/").await.status_code(), 200, "{format}: {header}");
        assert_eq!(api.requests().len(), 2, "{format}: {header}");
    }
}

#[tokio::test]
async fn a_token_a_key_or_a_login_that_changes_is_read_after_a_401() {
    let secret = SecretFile::new("");
    let by_reference = json!({ "file": secret.path() });
    let token = |text: &str| format!("Bearer {text}");
    rotates(json!({ "bearer_token": by_reference }), "authorization", token, &secret).await;
    rotates(json!({ "api_key": by_reference }), "x-api-key", str::to_owned, &secret).await;
    let login = |text: &str| {
        let encoded = if text == "first" { "dTpmaXJzdA==" } else { "dTpzZWNvbmQ=" };
        format!("Basic {encoded}")
    };
    let basic = json!({ "basic_username": "u", "basic_password": by_reference });
    rotates(basic, "authorization", login, &secret).await;
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_sends_no_request_and_is_no_longer_missed_once_it_is_there() {
    let api = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let secret = SecretFile::new("");
    let service = json!({ "base_url": api.url(), "bearer_token": { "file": secret.path() } });
    let [(_, config), _] = in_each_format(&service);
    let client = config.client().expect("a client");
    let error = client.get("/").send().await.expect_err("no token");
    let source = error.authentication_error().expect("no token").to_string();
    assert!(source.contains(secret.path()) && source.contains("empty"), "{source}");
    assert_eq!(api.requests().len(), 0);
    secret.write("token");
    assert_eq!(get(&client, "/").await.status_code(), 200);
}
