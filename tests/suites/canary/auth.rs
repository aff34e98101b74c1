//! Authentication of all kinds.

use std::sync::{Arc, Mutex, PoisonError};

use forge_tests::{Origin, RawReply};
use http::{HeaderMap, HeaderName, HeaderValue};
use requestforge::auth::{Auth, AuthHook, AuthRequest};
use requestforge::reqwest::ClientBuilder;
use requestforge::{
    ApiKeyAuth, AuthenticationError, AuthenticationErrorKind, BasicAuth, CompositeAuth, HttpClient, Logging,
};

use crate::canaries::{Canaries, Canary, debug};
use crate::logs;

/// Sets a canary, or fails.
struct SignedHook {
    canary: String,
    fails: bool,
    shown: Arc<Mutex<String>>,
}

/// `Debug` as most users would write it.
impl std::fmt::Debug for SignedHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signed")
    }
}

const HEADER: HeaderName = HeaderName::from_static("x-plain");

impl AuthHook for SignedHook {
    fn header_names(&self) -> Vec<HeaderName> {
        vec![HEADER]
    }

    fn authenticate(&self, request: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) += &debug(request);
        if self.fails {
            return Err(AuthenticationError::new("crm", AuthenticationErrorKind::Other));
        }
        let value = HeaderValue::try_from(&self.canary).expect("a header");
        Ok(HeaderMap::from_iter([(HEADER, value)]))
    }
}

#[tokio::test]
async fn inv16_authentication_of_any_kind_is_not_shown() {
    logs::keep();
    let canary = Canary::token("credential");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let api = Origin::start({
        let echo = text.clone();
        move |_| RawReply::status(401).with_header("x-echo", &echo)
    })
    .await
    .expect("a server");
    let shown = Arc::new(Mutex::new(String::new()));
    let signed = |fails| SignedHook { canary: text.clone(), fails, shown: Arc::clone(&shown) };

    let (key, basic) =
        (ApiKeyAuth::new(text.as_str()).header_name("X-Odd"), BasicAuth::new("user", text.as_str()));
    canaries.look_at_debug("ApiKeyAuth", &key);
    canaries.look_at_debug("BasicAuth", &basic);
    let all = CompositeAuth::all().with(key).with(basic).with(signed(false));
    canaries.look_at_debug("CompositeAuth", &all);
    let auth = Auth::from(all);
    canaries.look_at_debug("Auth", &auth);
    let builder = HttpClient::builder(api.url())
        .with_auth(auth.clone())
        .with_logging(Logging::new().log_headers(true).log_body(true))
        .with_http(ClientBuilder::no_proxy);
    canaries.look_at_debug("HttpClientBuilder", &builder);
    let client = builder.build().expect("a client");
    canaries.look_at_debug("HttpClient", &client);
    let own = ApiKeyAuth::new(text.as_str()).header_name("X-Plainer");
    for request in [client.get("/x"), client.get("/x").auth(auth), client.get("/x").auth(own)] {
        canaries.look_at_debug("RequestBuilder", &request);
        canaries.look_at_debug("HttpResponse", &request.send().await.expect("an answer"));
    }
    assert_eq!(api.requests().iter().filter(|request| request.contains(&text)).count(), 3);

    let failing = client.get("/x").auth(signed(true)).send().await.expect_err("no credential");
    canaries.look_at_error("AuthHook", &failing);
    let line = format!("{text}\n");
    let secret = [
        Auth::from(ApiKeyAuth::new(line.as_str())),
        ApiKeyAuth::new("x").header_name(&line).into(),
        BasicAuth::new(&format!("{text}:"), "x").into(),
        BasicAuth::new(&format!("{text}\n"), "x").into(),
        BasicAuth::new("x", format!("{text}\n")).into(),
    ];
    canaries.look_at_debug("Auth that cannot be", &secret);
    // `Debug` shows the excluded paths, and errors do not.
    let paths = [
        ApiKeyAuth::new("x").excluded_paths([&text]).into(),
        BasicAuth::new("x", "x").excluded_path_patterns([&text]).into(),
    ];
    for wrong in secret.into_iter().chain(paths) {
        let error = HttpClient::builder(api.url()).with_auth(wrong.clone()).build().expect_err("no setting");
        canaries.look_at_error("with_auth_hook", &error);
        let error = client.get("/x").auth(wrong).send().await.expect_err("no setting");
        canaries.look_at_error("auth", &error);
    }
    let error = client.post("/x").idempotency_key(&line).send().await.expect_err("no header");
    canaries.look_at_error("idempotency_key", &error);
    let shown = std::mem::take(&mut *shown.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(shown.contains("AuthRequest"), "the hook was asked");
    canaries.look_at("AuthRequest", shown);
    logs::look_at(&mut canaries, |_| true);
    canaries.end();
}
