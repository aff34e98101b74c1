//! The requests that providers send, and the parts of them that are in the cache keys.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use forge_core::{
    AuthenticationError, AuthenticationErrorKind, ConfigError, Secret, SecretSource, TokenData,
    TokenProvider, async_trait,
};
use http::StatusCode;

use crate::provider::OAuth2TokenProviderBuilder;
use crate::{
    AuthMethod, ClientCredentialsGrant, ClientCredentialsTokenProvider, PasswordGrantTokenProvider,
    TokenRequest, TokenResponse, TokenTransport,
};

const URL: &str = "https://auth.example.com/token";

fn client() -> OAuth2TokenProviderBuilder<ClientCredentialsGrant> {
    ClientCredentialsTokenProvider::builder(URL, "a", "secret").service_name("crm")
}

fn key(builder: OAuth2TokenProviderBuilder<ClientCredentialsGrant>) -> String {
    builder.build().unwrap().cache_key()
}

/// Gives the same answer to each call, and remembers the calls.
#[derive(Clone, Debug)]
struct Server {
    status: StatusCode,
    answer: String,
    calls: Arc<Mutex<Vec<TokenRequest>>>,
}

impl Server {
    fn new(status: StatusCode, answer: &str) -> Self {
        Self { status, answer: answer.to_owned(), calls: Arc::default() }
    }

    /// The query and the body of each call.
    fn calls(&self) -> Vec<(String, String)> {
        let told = |call: &TokenRequest| {
            let query = call.endpoint.url().query().unwrap_or_default().to_owned();
            (query, String::from_utf8(call.body.to_vec()).unwrap())
        };
        self.calls.lock().unwrap().iter().map(told).collect()
    }
}

#[async_trait]
impl TokenTransport for Server {
    async fn call(&self, request: TokenRequest) -> Result<TokenResponse, AuthenticationError> {
        self.calls.lock().unwrap().push(request);
        Ok(TokenResponse::new(self.status, Bytes::from(self.answer.clone())))
    }
}

#[test]
fn inv26_a_secret_in_the_query_of_a_token_url_is_refused_and_not_shown() {
    let of_url = |query: &str| {
        let url = format!("{URL}?{query}");
        let client = ClientCredentialsTokenProvider::builder(&url, "a", "secret").build().err();
        let user = PasswordGrantTokenProvider::builder(&url, "a", "secret", "u", "p").build().err();
        assert_eq!(client.as_ref().map(ConfigError::field), user.as_ref().map(ConfigError::field));
        client
    };
    for query in [
        "key=canary",
        "api_key=canary",
        "API-Key=canary",
        "a=b&access_token=canary",
        "%6Bey=canary",
        "key",
        "client_secret=canary",
        "code=canary",
        "secret=canary&secret=canary",
        "sig=canary",
    ] {
        let error = of_url(query).unwrap();
        let shown = format!("{error} {error:?}");
        assert_eq!(error.field(), "token_url", "{query}");
        assert!(shown.contains("`secret_query_param`") && !shown.contains("canary"), "{shown}");
    }
    for query in ["", "tenant=acme", "api-version=2026-11", "grant_type=x&p=B2C_1_signin", "account_id=7"] {
        assert!(of_url(query).is_none(), "{query}");
    }
}

#[test]
fn a_parameter_of_the_query_that_cannot_be_is_named() {
    for (builder, field) in [
        (client().query_param("api_key", "canary"), "query_param"),
        (client().query_param("", "canary"), "query_param"),
        (client().secret_query_param("", "canary"), "secret_query_param"),
        (client().secret_query_param("key", ""), "secret_query_param"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.field(), field);
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[test]
fn inv26_what_is_public_in_the_query_is_in_the_key_and_what_is_secret_is_not() {
    let in_url = ClientCredentialsTokenProvider::builder(format!("{URL}?tenant=acme"), "a", "secret");
    let base = key(client());
    assert_eq!(key(client().query_param("tenant", "acme")), key(in_url.service_name("crm")));
    assert_ne!(key(client().query_param("tenant", "acme")), base);
    assert_ne!(key(client().query_param("tenant", "acme")), key(client().query_param("tenant", "other")));
    assert_eq!(key(client().secret_query_param("key", "one")), base);
    assert_eq!(key(client().secret_query_param("key", SecretSource::env("NOT_SET"))), base);
}

#[test]
fn inv17_what_a_closure_hides_is_told_apart_by_a_part_of_the_key() {
    let client = || client().http(|http| http.user_agent("a certificate"));
    let base = key(client());
    assert_eq!(base, "auth_token:crm:b5e07ed7c9b3d0f50ab1389aa9641834");
    let keys = [
        base,
        key(client().key_part("certificate", "one")),
        key(client().key_part("certificate", "two")),
        key(client().key_part("other", "one")),
        key(client().extra_param("certificate", "one")),
        key(client().extra_param("key_part", "certificate").extra_param("value", "one")),
        key(client().key_part("certificate", "one").key_part("other", "one")),
        key(client().key_part("endpoint", URL)),
    ];
    let distinct: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!(distinct.len(), keys.len(), "{keys:?}");
    let in_another_order = client().key_part("other", "one").key_part("certificate", "one");
    assert_eq!(key(in_another_order), keys[6]);
}

/// RFC 6749 A.1, A.2, A.15 and A.16 allow no control characters but a tab in the user's name and password.
#[tokio::test]
async fn the_error_for_a_control_character_in_a_credential_names_the_field() {
    let later = |secret: String| {
        SecretSource::from_fn(move || {
            let secret = Secret::from(secret.clone());
            async move { Ok::<_, std::io::Error>(secret) }
        })
    };
    let server = Server::new(StatusCode::OK, r#"{"access_token":"t"}"#);
    for ending in ["\n", "\r\n", "\0", "\u{7f}"] {
        let wrong = format!("canary{ending}");
        for method in [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw] {
            let client = |id: &str, secret: SecretSource| {
                ClientCredentialsTokenProvider::builder(URL, id, secret).auth_method(method)
            };
            let user = |name: &str, password: SecretSource| {
                PasswordGrantTokenProvider::builder(URL, "a", "secret", name, password).auth_method(method)
            };
            let known = || SecretSource::from(wrong.as_str());
            for (refused, field) in [
                (client(&wrong, "secret".into()).build().err(), "client_id"),
                (client("a", known()).build().err(), "client_secret"),
                (user(&wrong, "p".into()).build().err(), "username"),
                (user("u", known()).build().err(), "password"),
                (
                    client("a", "s".into()).secret_query_param("key", known()).build().err(),
                    "secret_query_param",
                ),
            ] {
                let error = refused.unwrap_or_else(|| panic!("{field} with {ending:?} is accepted"));
                assert_eq!(error.field(), field, "{ending:?}");
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
            let secret = client("a", later(wrong.clone())).transport(server.clone()).build().unwrap();
            let password = user("u", later(wrong.clone())).transport(server.clone()).build().unwrap();
            let query = client("a", "s".into()).secret_query_param("key", later(wrong.clone()));
            let query = query.transport(server.clone()).build().unwrap();
            for (refused, field) in [
                (secret.fetch_token().await.err(), "client_secret"),
                (password.fetch_token().await.err(), "password"),
                (query.fetch_token().await.err(), "secret_query_param"),
            ] {
                let error = refused.unwrap_or_else(|| panic!("{field} with {ending:?} is sent"));
                assert_eq!(*error.kind(), AuthenticationErrorKind::Configuration);
                let shown = format!("{error} {error:?}");
                assert!(shown.contains(&format!("`{field}`")) && !shown.contains("canary"), "{shown}");
            }
        }
    }
    assert!(server.calls().is_empty());
    // The user's name and password may contain a tab.
    let user = PasswordGrantTokenProvider::builder(URL, "a", "secret", "u\tv", "p\tq").transport(server);
    user.build().unwrap().fetch_token().await.unwrap();
}

#[tokio::test]
async fn a_secret_in_the_query_is_read_for_each_call_and_sent_besides_what_is_public() {
    let server = Server::new(StatusCode::OK, r#"{"access_token":"t"}"#);
    let read = Arc::new(Mutex::new(0));
    let secret = SecretSource::from_fn(move || {
        let mut read = read.lock().unwrap();
        *read += 1;
        let secret = Secret::from(format!("s&{read}"));
        async move { Ok::<_, std::io::Error>(secret) }
    });
    let provider = client().query_param("tenant", "acme").secret_query_param("key", secret);
    let provider = provider.transport(server.clone()).build().unwrap();
    for _ in 0..2 {
        provider.fetch_token().await.unwrap();
    }
    let queries: Vec<_> = server.calls().into_iter().map(|(query, _)| query).collect();
    assert_eq!(queries, ["tenant=acme&key=s%261", "tenant=acme&key=s%262"]);
}

#[tokio::test]
async fn inv16_a_secret_in_the_query_is_in_no_error_and_a_new_one_is_tried_at_once() {
    for (status, answer) in [
        (
            StatusCode::BAD_REQUEST,
            r#"{"error":"bad_key","error_description":"POST /token?key=can%26ary or can&ary"}"#,
        ),
        (StatusCode::OK, r#"{"access_token":"can&ary\u0007"}"#),
        (StatusCode::OK, r#"{"error":"can&ary"}"#),
    ] {
        let server = Server::new(status, answer);
        let secrets = Arc::new(Mutex::new(vec!["can&ary-2", "can&ary", "can&ary"]));
        let secret = SecretSource::from_fn(move || {
            let mut secrets = secrets.lock().unwrap();
            let secret = if secrets.len() > 1 { secrets.pop() } else { secrets.first().copied() };
            async move { Ok::<_, std::io::Error>(Secret::from(secret.unwrap_or_default())) }
        });
        let provider = client().secret_query_param("key", secret).transport(server.clone()).build().unwrap();
        let error = provider.fetch_token().await.unwrap_err();
        let shown = format!("{error} {error:?} {provider:?} {:?}", server.calls.lock().unwrap());
        assert!(!shown.contains("ary"), "{shown}");
        assert_eq!(provider.has_new_secrets().await, error.is_permanent(), "{shown}");
    }
}

#[tokio::test]
async fn the_scope_goes_with_a_refresh_where_that_is_wanted() {
    let old = TokenData::new("old").with_refresh_token("r");
    for (builder, is_sent) in [(client(), false), (client().scope_on_refresh(), true)] {
        let server = Server::new(StatusCode::OK, r#"{"access_token":"t"}"#);
        let provider = builder.scope("read write").transport(server.clone()).build().unwrap();
        provider.refresh_token(&old).await.unwrap();
        provider.fetch_token().await.unwrap();
        let scopes: Vec<_> =
            server.calls().iter().map(|(_, body)| body.contains("scope=read+write")).collect();
        assert_eq!(scopes, [is_sent, true]);
    }
    assert_eq!(key(client().scope("read").scope_on_refresh()), key(client().scope("read")));
    // There is nothing to send.
    let server = Server::new(StatusCode::OK, r#"{"access_token":"t"}"#);
    let provider = client().scope_on_refresh().transport(server.clone()).build().unwrap();
    provider.refresh_token(&old).await.unwrap();
    assert!(!server.calls()[0].1.contains("scope"));
}

#[tokio::test]
async fn inv09_a_refresh_answer_without_a_refresh_token_keeps_the_old_one() {
    for (answer, kept) in [
        (r#"{"access_token":"new"}"#, "old+1"),
        (r#"{"access_token":"new","refresh_token":null}"#, "old+1"),
        (r#"{"access_token":"new","refresh_token":""}"#, "old+1"),
        (r#"{"access_token":"new","refresh_token":"rotated"}"#, "rotated"),
    ] {
        let server = Server::new(StatusCode::OK, answer);
        let provider = client().transport(server.clone()).build().unwrap();
        let current = TokenData::new("old").with_refresh_token("old+1");
        let renewed = provider.refresh_token(&current).await.unwrap();
        assert_eq!((renewed.access_token(), renewed.refresh_token()), ("new", Some(kept)), "{answer}");
        let sent = &server.calls()[0].1;
        assert!(sent.contains("grant_type=refresh_token&refresh_token=old%2B1"), "{sent}");
    }
}

/// A version or a tenant is not a secret. A longer value may be one, whatever its name.
#[tokio::test]
async fn inv34_a_short_public_parameter_of_the_token_url_hides_no_error() {
    let answer =
        r#"{"error":"invalid_request","error_description":"code 2 of 22 at acme: no long-value here"}"#;
    let server = Server::new(StatusCode::BAD_REQUEST, answer);
    let message = async |client: OAuth2TokenProviderBuilder<ClientCredentialsGrant>| {
        let provider = client.transport(server.clone()).build().unwrap();
        provider.fetch_token().await.unwrap_err().to_string()
    };
    let at = |query: &str| ClientCredentialsTokenProvider::builder(format!("{URL}?{query}"), "a", "secret");
    for client in
        [at("v=2&tenant=acme"), client().query_param("v", "2").query_param("tenant", "acme"), at("2")]
    {
        let shown = message(client).await;
        assert!(shown.contains("code 2 of 22 at acme: no long-value here"), "{shown}");
    }
    for client in [at("v=long-value"), at("long-value"), client().query_param("v", "long-value")] {
        let shown = message(client).await;
        assert!(shown.contains("code 2 of 22 at acme: no [redacted] here"), "{shown}");
    }
    let shown = message(client().secret_query_param("v", "2")).await;
    assert!(shown.ends_with(": [redacted]"), "{shown}");
}

/// A provider from before the method was renamed.
struct OldProvider;

#[async_trait]
impl TokenProvider for OldProvider {
    fn service_name(&self) -> &'static str {
        "old"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        Ok(TokenData::new("token"))
    }

    async fn has_new_credentials(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_provider_that_implements_the_old_name_still_reports_new_secrets() {
    assert!(OldProvider.has_new_secrets().await);
    assert!(Arc::new(OldProvider).has_new_secrets().await);
}
