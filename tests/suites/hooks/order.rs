//! When the client asks its hooks, and what a hook may do.

use forge_tests::{Api, AuthorizationServer, Origin, RawReply};
use requestforge::hooks::{IgnoringFailures, OutgoingRequest};
use requestforge::reqwest::ClientBuilder;
use requestforge::{ClientCredentialsTokenProvider, CorrelationId, Logging, TokenManager};

use crate::log::Log;
use crate::world::{Diary, Noting, client, origin, sent};

#[tokio::test]
async fn each_kind_has_its_turn_in_the_order_of_registration() {
    let server = origin([]).await;
    let diary = Diary::default();
    let hook = |name| Noting::new(name, &diary);
    let client = client(&server)
        .with_response_hook(hook("first after"))
        .with_request_hook(hook("first before"))
        .with_request_hook(hook("second before"))
        .with_response_hook(hook("second after"))
        .with_error_hook(hook("error"))
        .build()
        .expect("a client");
    client.get("/x").send().await.expect("an answer");
    assert_eq!(
        diary.take(),
        [
            "first before: 1. GET /x",
            "second before: 1. GET /x",
            "first after: 1. /x -> 200",
            "second after: 1. /x -> 200",
        ]
    );
}

#[tokio::test]
async fn every_request_is_seen_and_every_answer_that_counts() {
    let server = origin([
        RawReply::status(503),
        RawReply::status(503),
        RawReply::redirect(302, "/elsewhere"),
        RawReply::status(503),
        RawReply::status(404),
    ])
    .await;
    let diary = Diary::default();
    let hook = |name| Noting::new(name, &diary);
    let client = client(&server)
        .with_request_hook(hook("before"))
        .with_response_hook(hook("after"))
        .with_error_hook(hook("error"))
        .build()
        .expect("a client");
    let response = client.put("/x").send().await.expect("an answer");
    assert_eq!(
        diary.take(),
        [
            "before: 1. PUT /x",
            "before: 2. PUT /x",
            "before: 3. PUT /x",
            "after: 3. /x -> 302",
            "before: 4. PUT /elsewhere",
            "before: 5. PUT /elsewhere",
            "after: 5. /elsewhere -> 404",
        ]
    );
    assert_eq!((response.attempts(), server.requests().len()), (5, 5));
}

#[tokio::test]
async fn a_replay_after_a_401_is_another_request_and_the_401_is_not_shown() {
    let authorization_server = AuthorizationServer::start().await.expect("a server");
    let api = Api::start(&authorization_server).await.expect("a server");
    let provider = ClientCredentialsTokenProvider::builder(
        authorization_server.token_url(),
        authorization_server.client_id(),
        authorization_server.client_secret(),
    );
    let manager = TokenManager::new(provider.build().expect("a provider"));
    manager.get_token().await.expect("a token");
    authorization_server.revoke_all();

    let diary = Diary::default();
    let seen = diary.clone();
    let client = requestforge::HttpClient::builder(api.base_url())
        .with_token_auth(manager)
        .with_http(ClientBuilder::no_proxy)
        .with_request_hook(move |request: &mut OutgoingRequest<'_>| {
            // The credential is in place when the client asks its hooks.
            seen.note(request.headers().contains_key("authorization"));
        })
        .with_request_hook(Noting::new("before", &diary))
        .with_response_hook(Noting::new("after", &diary))
        .build()
        .expect("a client");
    client.get("/x").send().await.expect("an answer");
    assert_eq!(
        diary.take(),
        ["true", "before: 1. GET /x", "true", "before: 2. GET /x", "after: 2. /x -> 200"]
    );
}

#[tokio::test]
async fn a_hook_sees_the_body_that_is_at_hand_and_the_headers_of_the_request() {
    let server = origin([]).await;
    let client = client(&server)
        .with_header("X-Default", "default")
        .with_request_hook(|request: &mut OutgoingRequest<'_>| {
            let length = request.body().map_or("none".to_owned(), |body| body.len().to_string());
            let defaults = request.headers()["x-default"].clone();
            request.set_header("X-Length", length)?;
            request.set_header("X-Copy", defaults)
        })
        .build()
        .expect("a client");
    client.post("/x").body("four").send().await.expect("an answer");
    client.post("/x").body_stream("stream").send().await.expect("an answer");
    client.get("/x").header("X-Length", "the caller's").send().await.expect("an answer");
    let expected = ["4", "none", "none"].map(|length| Some(length.to_owned()));
    assert_eq!(sent(&server, "x-length"), expected, "a hook's header takes the place of the caller's");
    assert_eq!(sent(&server, "x-copy"), ["default"; 3].map(|value| Some(value.to_owned())));
}

/// Each origin redirects to the other one, there and back again.
async fn two_origins() -> (Origin, Origin) {
    let (home, foreign) = (origin([]).await, origin([]).await);
    let (to, back) = (format!("{}/there", foreign.url()), format!("{}/back", home.url()));
    home.set_reply(move |request| match request.target() {
        "/start" => RawReply::redirect(307, to.as_str()),
        _ => RawReply::ok("{}"),
    });
    foreign.set_reply(move |_| RawReply::redirect(307, back.as_str()));
    (home, foreign)
}

#[tokio::test]
async fn inv13_what_a_hook_sets_is_subject_to_the_origin_rule() {
    let (home, foreign) = two_origins().await;
    let diary = Diary::default();
    let client = client(&home)
        .with_public_header("X-Plain")
        .with_request_hook(Noting::new("before", &diary))
        .with_request_hook(|request: &mut OutgoingRequest<'_>| {
            request.set_header("X-Plain", request.attempt().to_string())?;
            request.set_header("Jenkins-Crumb", "canary-3")?;
            request.set_header("Authorization", "Bearer canary-1")?;
            request.set_header("X-Signature", "canary-2")
        })
        .build()
        .expect("a client");
    client.get("/start").send().await.expect("an answer");
    assert_eq!(
        diary.take(),
        ["before: 1. GET /start", "before: 2. GET /there, not trusted", "before: 3. GET /back, not trusted",]
    );
    let (at_home, elsewhere) = (home.requests(), foreign.requests());
    assert!(["canary-1", "canary-2", "canary-3"].iter().all(|canary| at_home[0].contains(canary)));
    assert!(!elsewhere[0].contains("canary"), "{:?}", elsewhere[0]);
    assert!(!at_home[1].contains("canary"), "what was stripped is not restored: {:?}", at_home[1]);
    // A public header goes to every origin, with the value that the hook set for that request.
    assert_eq!(sent(&home, "x-plain"), [Some("1".into()), Some("3".into())]);
    assert_eq!(sent(&foreign, "x-plain"), [Some("2".into())]);
}

#[tokio::test]
async fn inv13_a_correlation_id_goes_to_every_origin_whatever_the_name_of_its_header() {
    let (home, foreign) = two_origins().await;
    let hook = CorrelationId::in_header("X-Case").expect("a name").generate_with(|| "c0ffee".into());
    let client = client(&home)
        .with_request_hook(IgnoringFailures(hook))
        .with_logging(Logging::new().log_headers(true))
        .build()
        .expect("a client");
    let log = Log::begin();
    client.get("/start").send().await.expect("an answer");
    client.get(format!("{}/x", foreign.url())).send().await.expect("an answer");
    for server in [&home, &foreign] {
        assert!(sent(server, "x-case").iter().all(|id| id.as_deref() == Some("c0ffee")), "{server:?}");
    }
    let lines = log.take();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(lines.iter().all(|line| line.contains(r#"x-case: \"c0ffee\""#)), "{lines:?}");
}
