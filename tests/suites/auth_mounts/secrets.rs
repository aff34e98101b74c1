//! The texts that errors show and that logs contain.

use forge_tests::{Origin, RawReply};
use requestforge::middleware::AuthMiddleware;
use requestforge::tower::AuthLayer;
use requestforge::{BasicAuth, ClientCredentialsTokenProvider, TokenAuth, TokenManager};

use crate::canaries::{Canaries, Canary};
use crate::logs;
use crate::mount::{Body, Mount, Request};

on_each_mount! {
    inv16_no_secret_is_shown_or_logged,
}

async fn inv16_no_secret_is_shown_or_logged<M: Mount>() {
    logs::keep();
    let [one, two] = ["first token", "second token"].map(Canary::alphanumeric);
    let secret = Canary::secret("client secret");
    let (tokens, texts) =
        ([one.to_string(), two.to_string()], [one.to_string(), two.to_string(), secret.to_string()]);
    let mut canaries = Canaries::new([one, two, secret]);

    // The API echoes the token that it rejects. The token endpoint echoes the secret, and fails in the end.
    let [first, second] = tokens;
    let echo = format!("{first} {second}");
    let api = Origin::start(move |_| RawReply::status(401).with_header("x-echo", &echo)).await;
    let api = api.expect("a server");
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let echo = texts[2].clone();
    let endpoint = Origin::start(move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => RawReply::ok(format!(r#"{{"access_token":"{first}"}}"#)),
        1 => RawReply::ok(format!(r#"{{"access_token":"{second}"}}"#)),
        _ => RawReply::status(400).with_body(format!(
            r#"{{"error":"invalid_client","error_description":{}}}"#,
            serde_json::Value::from(echo.as_str())
        )),
    });
    let endpoint = endpoint.await.expect("a server");
    let url = format!("{}/token", endpoint.url());
    let provider = ClientCredentialsTokenProvider::builder(url, "client", texts[2].as_str()).build();
    let manager = TokenManager::new(provider.expect("a provider"));
    let auth = TokenAuth::new(manager.clone());
    canaries.look_at_debug("TokenAuth", &auth);
    let mount = M::new(auth, &api.url()).await;
    canaries.look_at_debug("the mount", &mount);

    for body in [Body::Empty, Body::Stream("body".into())] {
        let answer = mount.send(Request::post(api.url(), body)).await.expect("an answer");
        assert_eq!(answer.status.as_u16(), 401);
    }
    assert_eq!(api.requests().iter().filter(|request| request.contains(&texts[1])).count(), 2);
    canaries.look_at_debug("the mount, used", &mount);
    // There is no token left, and the client cannot get another one.
    manager.invalidate_token().await.expect("done");
    let failure = mount.send(Request::get(api.url())).await.expect_err("no token");
    assert!(failure.authentication.is_some(), "{failure:?}");
    canaries.look_at_error("the error", &*failure.error);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}

#[test]
fn inv16_the_settings_of_adapters_are_named_and_not_told() {
    let mut canaries = Canaries::new([]);
    let password = Canary::alphanumeric("password");
    let url = format!("https://user:{password}@api.example.com/{password}");
    let auth = BasicAuth::new("user", password.text());
    canaries.add(password);

    let middleware = AuthMiddleware::with_auth(auth.clone()).origin(&url);
    canaries.look_at_debug("AuthMiddlewareBuilder", &middleware);
    let layer = AuthLayer::with_auth(auth.clone()).path_origin(&url);
    canaries.look_at_debug("AuthLayerBuilder", &layer);
    let unnamed = AuthMiddleware::with_auth(auth.clone()).build().expect_err("no origin");
    let errors = [
        middleware.build().expect_err("user-info"),
        layer.build().expect_err("user-info"),
        unnamed,
        AuthLayer::with_auth(auth).build().expect_err("no origin"),
    ];
    for error in errors {
        assert_eq!(error.field(), "origin");
        canaries.look_at_error("a setting", &error);
    }
    canaries.end();
}
