//! `Debug` of every public type that may hold a secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use forge_tests::{Origin, RawReply};
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, StatusCode};
use requestforge::oauth2::{
    HttpTransport, OAuthErrorCode, ResponseFields, TokenEndpoint, TokenRequest, TokenResponse,
};
use requestforge::{
    AuthMethod, AuthenticationError, AuthenticationErrorKind, CacheKey, ClientCredentialsTokenProvider,
    ConditionalAuthRetryStrategy, Credential, HttpClient, HttpClientConfigBuilder, InMemoryTokenStorage,
    PasswordGrantTokenProvider, Secret, SecretSource, StaticTokenSource, StorageError, TokenAuth, TokenData,
    TokenManager, TokenProvider, TokenSource, TokenStorage, token_source_fn,
};
use serde_json::json;

use crate::canaries::{Canaries, Canary, debug};

/// A token with a canary in each part that a server fills.
fn token(canaries: &mut Canaries) -> TokenData {
    let mut made = |name| {
        let canary = Canary::token(name);
        let text = canary.to_string();
        canaries.add(canary);
        text
    };
    let extra = json!({
        "id_token": made("id token"),
        "nested": [{ "list": made("extra list").into_bytes() }, { made("extra name"): 1 }],
    });
    TokenData::new(made("access token"))
        .with_refresh_token(made("refresh token"))
        .with_token_type(made("token type"))
        .with_scope(made("scope"))
        .with_extra(extra.as_object().expect("an object").clone())
        .with_expires_at(Utc::now() + Duration::from_secs(3600))
}

#[test]
fn inv16_secrets_and_tokens_are_not_shown() {
    let mut canaries = Canaries::new([]);
    let token = token(&mut canaries);
    let secret = Canary::secret("secret");
    let text = secret.to_string();
    canaries.add(secret);

    canaries.look_at_debug("Secret", &Secret::from(text.as_str()));
    canaries.look_at_debug("Secret in others", &(Some(Secret::from(text.clone())), [Secret::from("x")]));
    canaries.look_at_debug("SecretSource", &SecretSource::from(text.as_str()));
    canaries.look_at_debug("SecretSource's value", &SecretSource::from(text.as_str()).value().cloned());
    let held = text.clone();
    let closure = SecretSource::from_fn(move || {
        let held = held.clone();
        async move { Ok::<_, StorageError>(Secret::from(held)) }
    });
    canaries.look_at_debug("SecretSource of a closure", &closure);

    canaries.look_at_debug("TokenData", &token);
    canaries.look_at_debug("TokenData, bare", &TokenData::new(token.access_token()));
    canaries.look_at_debug("TokenId", &token.id());
    let credential = Credential::new(token.clone()).expect("a credential");
    canaries.look_at_debug("Credential", &credential);
    canaries.look_at_debug("Credential's header", credential.header_value());
    for prefix in ["", "Token", text_that_fits_a_header(&mut canaries).as_str()] {
        let value = credential.header_value_with_prefix(prefix).expect("a header");
        canaries.look_at_debug("Credential's header with a prefix", &value);
    }
    let mut headers = http::HeaderMap::new();
    credential.apply(&Method::GET, "https://api.example.com", &mut headers).expect("a bearer token");
    canaries.look_at_debug("headers with a Credential", &headers);
    canaries.look_at_debug("Secret's header", &Secret::from(token.access_token()).into_header_value());

    canaries.look_at_debug("StaticTokenSource", &StaticTokenSource::new(token.clone()).expect("a source"));
    let captured = token.clone();
    let source = token_source_fn(move || {
        let captured = captured.clone();
        async move { Ok(captured) }
    });
    canaries.look_at_debug("token_source_fn", &source);

    // These are not places for secrets. Still, `Debug` must not show a part of one.
    let key = CacheKey::new("crm").part("client", &text).scope(Some(&text));
    canaries.look_at_debug("CacheKey", &key);
    canaries.look_at("CacheKey", key.to_string());
    canaries.end();
}

fn text_that_fits_a_header(canaries: &mut Canaries) -> String {
    let canary = Canary::token("prefix");
    let text = canary.to_string();
    canaries.add(canary);
    text
}

#[test]
fn inv16_token_calls_are_not_shown() {
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);

    let query = serde_urlencoded::to_string([("key", &text)]).expect("a query");
    let endpoint = TokenEndpoint::new(&format!("https://auth.example.com/token?{query}")).expect("a URL");
    canaries.look_at_debug("TokenEndpoint", &endpoint);
    let mut request = TokenRequest::post(endpoint, Bytes::from(text.clone()));
    request.headers.insert(AUTHORIZATION, text.parse().expect("a header"));
    canaries.look_at_debug("TokenRequest", &request);
    let mut response = TokenResponse::new(StatusCode::OK, Bytes::from(text.clone()));
    response.headers.insert("set-cookie", text.parse().expect("a header"));
    canaries.look_at_debug("TokenResponse", &response);
    let agent = text.clone();
    let transport = HttpTransport::with(move |builder| builder.user_agent(agent.as_str()));
    canaries.look_at_debug("HttpTransport", &transport);
    transport.prepare(&request.endpoint).expect("settings that reqwest accepts");
    canaries.look_at_debug("HttpTransport, used", &transport);
    canaries.look_at_debug("ResponseFields", &ResponseFields::default());
    canaries.end();
}

#[tokio::test]
async fn inv16_providers_and_managers_are_not_shown() {
    let (secret, password) = (Canary::secret("client secret"), Canary::secret("password"));
    let (key, parameter) = (Canary::secret("key in the query"), Canary::secret("extra parameter"));
    let url = "https://auth.example.com/token";
    let client = || {
        let builder = ClientCredentialsTokenProvider::builder(url, "id", secret.text());
        builder.secret_query_param("key", key.text())
    };
    let user = || {
        let builder = PasswordGrantTokenProvider::builder(url, "id", secret.text(), "user", password.text());
        builder.secret_query_param("key", key.text())
    };

    let mut shown = String::new();
    let mut managers = Vec::new();
    for method in [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw] {
        let client = || client().auth_method(method).extra_param("audience", parameter.text()).scope("read");
        let user = || user().auth_method(method).extra_param("audience", parameter.text()).scope("read");
        shown += &debug(&(client(), user()));
        let (client, user) = (client().build().expect("a client"), user().build().expect("a user"));
        shown += &debug(&(&client, &user));
        shown += &(client.cache_key() + &user.cache_key());
        managers.extend([TokenManager::builder(client), TokenManager::builder(user)]);
    }

    let mut canaries = Canaries::new([secret, password, key, parameter]);
    canaries.look_at("providers", shown);
    let storage = InMemoryTokenStorage::new();
    let token = token(&mut canaries);
    for builder in managers {
        let builder = builder.storage(storage.clone());
        canaries.look_at_debug("TokenManagerBuilder", &builder);
        let manager = builder.build().expect("a manager");
        canaries.look_at_debug("TokenManager, empty", &manager);
        canaries.look_at_debug("TokenStatus, empty", &manager.status());
        storage.set(manager.cache_key(), &token).await.expect("a storage");
        let credential = manager.get_token().await.expect("the stored token");
        assert_eq!(credential.access_token(), token.access_token());
        canaries.look_at_debug("TokenManager", &manager);
        canaries.look_at_debug("what a TokenManager has", &(manager.cached(), manager.status()));
        canaries.look_at_debug("InMemoryTokenStorage", &storage);
        canaries.look_at_debug("what a storage has", &storage.get(manager.cache_key()).await);
    }
    canaries.end();
}

#[tokio::test]
async fn inv16_clients_requests_and_responses_are_not_shown() {
    let canary = Canary::token("everywhere");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let echo = text.clone();
    let api = Origin::start(move |request| {
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{echo}\"");
        let reply =
            if request.target().starts_with("/401") { RawReply::status(401) } else { RawReply::status(200) };
        reply
            .with_header("www-authenticate", challenge)
            .with_header("set-cookie", &echo)
            .with_body(echo.clone())
    })
    .await
    .expect("a server");

    let seen = Arc::new(Mutex::new(String::new()));
    let strategy = ConditionalAuthRetryStrategy::new({
        let seen = Arc::clone(&seen);
        move |response| {
            assert!(response.json_or_none::<serde_json::Value>().is_none());
            *seen.lock().unwrap_or_else(PoisonError::into_inner) += &debug(response);
            false
        }
    });
    canaries.look_at_debug("ConditionalAuthRetryStrategy", &strategy);
    let source = StaticTokenSource::new(TokenData::new(text.as_str())).expect("a source");
    let auth = TokenAuth::new(source)
        .auth_retry_strategy(strategy)
        .auth_header_name("X-Token")
        .auth_header_prefix(&text)
        .excluded_paths(["/public"]);
    canaries.look_at_debug("TokenAuth", &auth);

    let mut sensitive = HeaderValue::try_from(&text).expect("a header");
    sensitive.set_sensitive(true);
    let configure = |builder: HttpClientConfigBuilder| {
        let agent = text.clone();
        builder
            .with_base_url(api.url())
            .with_api_key(text.as_str())
            .with_api_key_header(text.as_str(), "X-Key")
            .with_header("Cookie", &text)
            .with_header("X-Sensitive", sensitive.clone())
            .with_headers([("X-Plain", &text)])
            .with_http(move |http| http.user_agent(agent.as_str()))
    };
    let configured: [HttpClientConfigBuilder; 3] = [
        configure(HttpClientConfigBuilder::new()).with_bearer_token(text.as_str()),
        configure(HttpClientConfigBuilder::new()).with_basic_auth("user", text.as_str()),
        configure(HttpClientConfigBuilder::new()).with_token_auth(auth),
    ];
    for builder in configured {
        canaries.look_at_debug("HttpClientConfigBuilder", &builder);
        let config = builder.build().expect("a configuration");
        canaries.look_at_debug("HttpClientConfig", &config);
        let client = HttpClient::new(config).expect("a client");
        canaries.look_at_debug("HttpClient", &client);
        for path in ["/200", "/401"] {
            let request = client
                .post(format!(
                    "{path}?{}#{text}",
                    serde_urlencoded::to_string([("a", &text)]).expect("a query")
                ))
                .query(&[("token", &text)])
                .header("X-Own", &text)
                .header(AUTHORIZATION, &text)
                .json(&json!({ "secret": text }))
                .form(&[("secret", &text)]);
            canaries.look_at_debug("RequestBuilder", &request);
            canaries.look_at_debug("HttpResponse", &request.send().await.expect("an answer"));
            let plain = client.get(format!("{}{path}?token={text}", api.url())).body_stream(text.clone());
            canaries.look_at_debug("RequestBuilder of a stream", &plain);
            canaries.look_at_debug("HttpResponse", &plain.send().await.expect("an answer"));
        }
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    assert!(seen.contains("401"), "the strategy was asked");
    canaries.look_at("ExaminedResponse", seen);
    // The servers did get all secrets. A suite that sends nothing proves nothing.
    let sent = api.requests();
    assert!(sent.iter().all(|request| request.contains(&text)) && sent.len() == 12);
    canaries.end();
}

#[tokio::test]
async fn inv16_sources_behind_the_trait_are_not_shown_by_their_errors() {
    let canary = Canary::secret("no header can carry it");
    let text = format!("{canary}\r\n");
    let mut canaries = Canaries::new([canary]);
    canaries.look_at_error("Credential", &Credential::new(TokenData::new(text.as_str())).expect_err("CR LF"));
    let typed = TokenData::new("t").with_token_type(text.as_str());
    canaries.look_at_error("Credential of a type", &Credential::new(typed).expect_err("CR LF"));
    let credential = Credential::new(TokenData::new("t")).expect("a credential");
    canaries.look_at_error("prefix", &credential.header_value_with_prefix(&text).expect_err("CR LF"));
    canaries.look_at_error("Secret", &Secret::from(text.as_str()).into_header_value().expect_err("CR LF"));
    let source = token_source_fn(move || {
        let text = text.clone();
        async move { Ok(TokenData::new(text)) }
    });
    canaries.look_at_error("token_source_fn", &source.get_token().await.expect_err("CR LF"));
    // Our own texts about errors that users make.
    let storage = StorageError::new("no route").with_source(std::io::Error::other("down"));
    let error = AuthenticationError::new("crm", AuthenticationErrorKind::Refused(OAuthErrorCode::from("x")));
    canaries.look_at_error("AuthenticationError", &error.with_source(storage));
    canaries.end();
}
