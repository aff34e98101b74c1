use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forge_tests::RawReply;
use requestforge::client::RequestBuilder;
use requestforge::{
    ApiKeyAuth, AuthenticationError, BasicAuth, HttpClient, HttpClientConfigBuilder, TokenAuth, TokenData,
    TokenManager, TokenProvider, async_trait,
};

use crate::world::{SignedHook, client, get, last, refused, server, some, tokens, values};

const HEADERS: [&str; 3] = ["authorization", "x-api-key", "x-odd"];

#[tokio::test]
async fn a_request_can_be_authenticated_in_another_way_or_not_at_all() {
    let server = server().await;
    let (source, fetches) = tokens("t");
    let client = client(&server, |builder| builder.with_token_auth(source).with_api_key("k"));
    get(&client, "/").await;
    assert_eq!(values(&last(&server), HEADERS), some(["Bearer t1", "k", ""]));
    let (other, _) = tokens("o");
    client.get("/").auth(TokenAuth::new(other)).send().await.expect("an answer");
    assert_eq!(values(&last(&server), HEADERS), some(["Bearer o1", "", ""]));
    client.get("/").auth(ApiKeyAuth::new("l").header_name("x-odd")).send().await.expect("an answer");
    assert_eq!(values(&last(&server), HEADERS), some(["", "", "l"]));
    client.get("/").no_auth().send().await.expect("an answer");
    assert_eq!(values(&last(&server), HEADERS), some(["", "", ""]));
    client.get("/").no_auth().header("authorization", "own").send().await.expect("an answer");
    assert_eq!(values(&last(&server), HEADERS), some(["own", "", ""]));
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    let error = client.get("/").auth(BasicAuth::new("a:b", "p")).send().await;
    assert_eq!(refused(error), "username");
}

#[tokio::test]
async fn inv12_another_source_is_the_one_that_renews() {
    let server = server().await;
    server.set_reply(|request| match request.header("authorization").as_deref() {
        Some("Bearer o2") => RawReply::ok(""),
        _ => RawReply::status(401),
    });
    let (source, fetches) = tokens("t");
    let (other, others) = tokens("o");
    let client = client(&server, |builder| builder.with_token_auth(source));
    let response = client.get("/").auth(TokenAuth::new(other)).send().await.expect("an answer");
    assert_eq!((response.status_code().as_u16(), response.attempts()), (200, 2));
    assert_eq!((fetches.load(Ordering::SeqCst), others.load(Ordering::SeqCst)), (0, 2));
}

#[tokio::test]
async fn inv13_what_a_request_brings_goes_to_trusted_origins_only() {
    let (home, foreign) = (server().await, server().await);
    let target = foreign.url();
    home.set_reply(move |_| RawReply::redirect(302, target.clone()));
    let client = client(&home, |builder| builder);
    for (case, header) in [("key", "x-odd"), ("signature", "x-odd"), ("basic", "authorization")] {
        let auth = |request: RequestBuilder| match case {
            "key" => request.auth(ApiKeyAuth::new("canary").header_name("x-odd")),
            "signature" => request.auth(SignedHook::default()),
            _ => request.auth(BasicAuth::new("canary", "canary")),
        };
        // The client does not send a request without the authentication that the request asks for.
        assert_eq!(refused(auth(client.get(foreign.url())).send().await), "auth", "{case}");
        assert!(foreign.requests().is_empty());

        auth(client.get("/")).send().await.expect("an answer");
        assert!(last(&home).header(header).is_some(), "{case}");
        // The caller's own header of that name is a credential too.
        auth(client.get("/").header(header, "own")).send().await.expect("an answer");
        assert_eq!(last(&home).header(header).as_deref(), Some("own"), "{case}");
        assert_eq!(foreign.requests().len(), 2);
        assert!(foreign.requests().iter().all(|request| request.header(header).is_none()), "{case}");
        foreign.clear();
    }
}

#[tokio::test]
async fn a_new_token_can_be_asked_for_once() {
    let server = server().await;
    server.set_reply(|request| match (request.target(), request.header("authorization").as_deref()) {
        ("/rejected", Some("Bearer t4")) => RawReply::status(401),
        ("/moved", _) => RawReply::redirect(302, "/"),
        _ => RawReply::ok(""),
    });
    let manager = TokenManager::new(NumberedSource::default());
    let client = client(&server, |builder| builder.with_token_auth(manager));
    get(&client, "/").await;
    get(&client, "/").await;
    assert_eq!(last(&server).header("authorization").as_deref(), Some("Bearer t1"));
    client.get("/").force_renewal().send().await.expect("an answer");
    assert_eq!(last(&server).header("authorization").as_deref(), Some("Bearer t2"));
    // The client renews once per call, whatever the result of the call.
    client.get("/moved").force_renewal().send().await.expect("an answer");
    assert_eq!(last(&server).header("authorization").as_deref(), Some("Bearer t3"));
    let response = client.get("/rejected").force_renewal().send().await.expect("an answer");
    assert_eq!(response.status_code(), 200);
    assert_eq!(last(&server).header("authorization").as_deref(), Some("Bearer t5"));

    let refused_field = |request: RequestBuilder| async { refused(request.send().await) };
    assert_eq!(refused_field(client.get("/").no_auth().force_renewal()).await, "force_renewal");
    assert_eq!(
        refused_field(client.get("/").force_renewal().auth(ApiKeyAuth::new("k"))).await,
        "force_renewal"
    );
}

#[tokio::test]
async fn a_new_token_is_fetched_only_where_it_is_sent() {
    let (home, foreign) = (server().await, server().await);
    home.set_reply(|request| match request.target() {
        "/health" => RawReply::redirect(302, "/"),
        _ => RawReply::ok(""),
    });
    let send = |client: &HttpClient, request: fn(RequestBuilder) -> RequestBuilder, url: &str| {
        let request = request(client.get(url).force_renewal());
        async move { request.send().await.expect("an answer").attempts() }
    };
    let provider = Arc::new(NumberedSource::default());
    let auth =
        TokenAuth::new(TokenManager::new(Arc::clone(&provider))).excluded_paths(["/health", "/public"]);
    let client = client(&home, |builder| builder.with_token_auth(auth));
    assert_eq!(send(&client, |request| request, "/public").await, 1);
    assert_eq!(send(&client, |request| request, &foreign.url()).await, 1);
    assert_eq!(send(&client, |request| request.header("authorization", "own"), "/").await, 1);
    assert_eq!(provider.0.load(Ordering::SeqCst), 0);
    // The target of a redirect is not such a path.
    assert_eq!(send(&client, |request| request, "/health").await, 2);
    assert_eq!(last(&home).header("authorization").as_deref(), Some("Bearer t1"));
}

#[tokio::test]
async fn inv13_without_a_base_url_a_request_has_its_own_authentication_at_named_origins_only() {
    let server = server().await;
    let auth = || ApiKeyAuth::new("canary");
    let homeless = HttpClient::new(HttpClientConfigBuilder::new().build().expect("settings"));
    let homeless = homeless.expect("a client");
    assert_eq!(refused(homeless.get(server.url()).auth(auth()).send().await), "auth");
    assert!(server.requests().is_empty());
    let named = HttpClientConfigBuilder::new().with_credential_origin(server.url()).build();
    let named = HttpClient::new(named.expect("settings")).expect("a client");
    named.get(server.url()).auth(auth()).send().await.expect("an answer");
    assert_eq!(last(&server).header("x-api-key").as_deref(), Some("canary"));
}

/// Fetches `t1`, `t2`, …
#[derive(Default)]
struct NumberedSource(AtomicUsize);

#[async_trait]
impl TokenProvider for NumberedSource {
    fn service_name(&self) -> &'static str {
        "numbered"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(TokenData::new(format!("t{number}")))
    }
}

#[tokio::test]
async fn inv13_two_services_have_tokens_of_their_own() {
    let (a, b) = (server().await, server().await);
    let client_a = client(&a, |builder| builder.with_token_auth(tokens("a").0));
    let client_b = client(&b, |builder| builder.with_token_auth(tokens("b").0));
    for (client, own, others, name) in [(&client_a, &a, &b, "a"), (&client_b, &b, &a, "b")] {
        get(client, "/").await;
        assert_eq!(last(own).header("authorization"), Some(format!("Bearer {name}1")));
        get(client, &others.url()).await;
        assert_eq!(last(others).header("authorization"), None);
    }
}
