//! Servers echo a secret of the request's body, or a query that is nothing but a secret. No log and no
//! command line shows it.

use forge_tests::{Origin, RawReply};
use requestforge::client::RequestBuilder;
use requestforge::reqwest::multipart::{Form, Part};
use requestforge::{HttpClient, Logging};
use serde_json::json;

use crate::canaries::{Canaries, Canary, percent_forms};
use crate::logs;

fn requests(client: &HttpClient, secret: &str) -> Vec<RequestBuilder> {
    let post = || client.post("/x");
    let part = || Part::text(secret.to_owned());
    let file = || part().file_name("key.pem");
    let typed = Part::text(json!({ "password": secret }).to_string()).mime_str("application/json");
    let stream = Part::stream(reqwest_body(secret));
    vec![
        post().json(secret),
        post().json(&json!([secret])),
        post().json(&json!([["x", [secret]], { "a": "b" }])),
        post().json(&json!({ "password": secret, "long": "x".repeat(70_000) })),
        post().json(&json!(json!({ "a": secret }).to_string())),
        post().multipart(Form::new().text("a", "x").text("password", secret.to_owned())),
        post().multipart(Form::new().part("token", file()).text("a", "x")),
        post().multipart(Form::new().part("a", typed.expect("a type"))),
        post().multipart(Form::new().text("password", secret.to_owned()).part("a", stream)),
        post().body(secret.to_owned()),
        post().header("content-type", "text/plain").body(secret.to_owned()),
        post()
            .header("content-type", "application/x-www-form-urlencoded")
            .body(percent_forms(secret)[0].clone()),
        post().header("content-type", "application/json").body(format!("{{\"password\":\"{secret}")),
        post().body_stream(secret.to_owned()),
        client.get(format!("/x?{}", percent_forms(secret)[0])),
        client.get(format!("/x?a=b&{}", percent_forms(secret)[0])),
    ]
}

fn reqwest_body(secret: &str) -> requestforge::reqwest::Body {
    requestforge::reqwest::Body::wrap(requestforge::reqwest::Body::from(secret.to_owned()))
}

#[tokio::test]
async fn inv16_a_secret_in_a_body_is_in_no_log_and_no_command_line() {
    logs::keep();
    let canary = Canary::secret("in a body");
    let secret = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let echoed = secret.clone();
    let api = Origin::start(move |_| {
        RawReply::ok(json!({ "echo": echoed, "harmless": "as ever" }).to_string())
            .with_header("content-type", "application/json")
            .with_header("x-echo", percent_forms(&echoed)[0].clone())
    })
    .await
    .expect("a server");
    let logging = Logging::new().log_headers(true).log_body(true);
    let client = HttpClient::builder(api.url()).with_logging(logging).build().expect("a client");
    for request in requests(&client, &secret) {
        canaries.look_at("to_curl", request.to_curl().to_string());
        canaries.look_at_debug("Curl", &request.to_curl().with_secrets());
        let response = request.send().await.expect("an answer");
        assert!(response.text().await.expect("a body").contains("as ever"), "the caller gets the whole body");
    }
    let at_this_server = |line: &logs::Line| line.text.contains(&api.url());
    logs::look_at(&mut canaries, at_this_server);
    canaries.end();
    let shown = logs::times(|line| at_this_server(line) && line.text.contains("as ever"));
    assert!(shown >= 10, "the log shows harmless values: {shown}");
}
