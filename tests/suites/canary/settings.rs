//! Errors name invalid settings, and do not show their values.

use std::collections::HashMap;

use requestforge::client::HttpClientBuilder;
use requestforge::oauth2::TokenEndpoint;
use requestforge::{
    AuthMethod, ClientCredentialsTokenProvider, ConfigError, HttpClient, HttpClientError,
    PasswordGrantTokenProvider, SecretSource, StaticTokenSource, TokenAuth, TokenData, TokenManager,
};

use crate::canaries::{Canaries, Canary, percent_forms};

/// URLs that no setting accepts.
fn wrong_urls(canary: &str) -> Vec<String> {
    let [encoded, ..] = percent_forms(canary);
    let core: String = canary.chars().take_while(char::is_ascii_alphanumeric).collect();
    vec![
        canary.to_owned(),
        format!("/{canary}"),
        format!("https://user:{encoded}@api.example.com"),
        format!("https://{encoded}@api.example.com"),
        format!("https://api.example.com:{core}"),
        format!("https://[{core}"),
        format!("https://{core} /"),
        format!("https://{encoded}/"),
        format!("ftp://{core}.example.com/{encoded}?{encoded}#{encoded}"),
        format!("{core}:{encoded}"),
    ]
}

fn home() -> HttpClientBuilder {
    HttpClient::builder("https://api.example.com")
}

#[test]
fn inv16_a_clients_settings_are_named_and_not_told() {
    let canary = Canary::token("setting");
    let text = canary.to_string();
    let line = format!("{canary}\n");
    let mut canaries = Canaries::new([canary]);
    let auth = || TokenAuth::new(StaticTokenSource::new(TokenData::new("t")).expect("a source"));
    let agent = line.clone();

    let mut cases = vec![
        ("bearer_token", home().with_bearer_token(line.as_str())),
        ("api_key", home().with_api_key(line.as_str())),
        ("header_name", home().with_api_key_header(text.as_str(), &line)),
        ("username", home().with_basic_auth(&text, text.as_str())),
        ("header", home().with_header("X-Key", &line)),
        ("header", home().with_header(&text, &text)),
        ("header", home().with_headers([("X-Key", &line)])),
        ("public_header", home().with_public_header(&line)),
        ("auth_header_name", home().with_token_auth(auth().auth_header_name(&line))),
        ("auth_header_prefix", home().with_token_auth(auth().auth_header_prefix(&line))),
        ("excluded_paths", home().with_token_auth(auth().excluded_paths([&text]))),
        ("excluded_paths", home().with_token_auth(auth().excluded_paths([format!("/x?{text}")]))),
        ("api_key", home().with_api_key_header(text.as_str(), "Authorization").with_token_auth(auth())),
        ("http", home().with_http(move |http| http.user_agent(agent.as_str()))),
        ("base_url", HttpClient::builder(format!("https://api.example.com?{text}"))),
        ("base_url", HttpClient::builder(format!("https://api.example.com#{text}"))),
    ];
    cases.extend(wrong_urls(&text).into_iter().map(|url| ("base_url", HttpClient::builder(url))));
    cases.extend(
        wrong_urls(&text).into_iter().map(|url| ("credential_origin", home().with_credential_origin(url))),
    );
    for (field, builder) in cases {
        canaries.look_at_debug("HttpClientBuilder", &builder);
        let error = builder.build().expect_err(field);
        look_at(&mut canaries, field, &error);
    }
    canaries.end();
}

fn look_at(canaries: &mut Canaries, field: &str, error: &HttpClientError) {
    let config = error.config_error().expect("a setting");
    assert_eq!(config.field(), field);
    canaries.look_at_error(field, config);
    canaries.look_at_error(field, error);
}

#[tokio::test]
async fn inv16_what_is_wrong_with_a_request_is_named_and_not_told() {
    let canary = Canary::token("argument");
    let text = canary.to_string();
    let line = format!("{canary}\n");
    let mut canaries = Canaries::new([canary]);
    let client = home().build().expect("a client");
    let nested = HashMap::from([(vec![text.clone()], &text)]);
    let mut cases = vec![
        ("header", client.get("/").header("X-Key", &line)),
        ("header", client.get(format!("/?{text}")).header(&line, &text)),
        ("query", client.get(format!("/?{text}")).query(&text)),
        ("query", client.get("/").query(&nested)),
        ("json", client.get(format!("/?{text}")).json(&nested)),
        ("form", client.get(format!("/?{text}")).form(&text)),
    ];
    let leaves = wrong_urls(&text).into_iter().filter(|url| url.contains("://") || url.starts_with('c'));
    cases.extend(leaves.filter(|url| *url != text).map(|url| ("url", client.get(url))));
    for (field, request) in cases {
        canaries.look_at_debug("RequestBuilder", &request);
        look_at(&mut canaries, field, &request.send().await.expect_err(field));
    }
    canaries.end();
}

#[test]
fn inv16_a_providers_settings_are_named_and_not_told() {
    const URL: &str = "https://auth.example.com/token";
    let canary = Canary::secret("setting");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    let agent = format!("{text}\n");
    let client = || ClientCredentialsTokenProvider::builder(URL, "id", text.as_str());

    let colon = format!("{text}:");
    let mut errors: Vec<ConfigError> = Vec::new();
    errors.extend(client().extra_param("client_secret", &text).build().err());
    errors.extend(client().service_name("").extra_param(&text, &text).build().err());
    errors.extend(client().grant_type("").build().err());
    errors.extend(client().http(move |http| http.user_agent(agent.as_str())).build().err());
    errors.extend(
        ClientCredentialsTokenProvider::builder(URL, colon, text.as_str())
            .auth_method(AuthMethod::HeaderRaw)
            .build()
            .err(),
    );
    errors.extend(PasswordGrantTokenProvider::builder(URL, "id", text.as_str(), "user", "").build().err());
    errors.extend(PasswordGrantTokenProvider::builder(URL, "id", "", "user", text.as_str()).build().err());
    assert_eq!(errors.len(), 7);
    let line = format!("{text}\n");
    let user =
        |name: &str, password: &str| PasswordGrantTokenProvider::builder(URL, "id", "secret", name, password);
    for method in [AuthMethod::Body, AuthMethod::Header, AuthMethod::HeaderRaw] {
        let client = |id: &str, secret: &str| ClientCredentialsTokenProvider::builder(URL, id, secret);
        errors.extend(client(&line, "secret").auth_method(method).build().err());
        errors.extend(client("id", &line).auth_method(method).build().err());
        errors.extend(
            client("id", "secret").auth_method(method).secret_query_param("k", line.as_str()).build().err(),
        );
        errors.extend(user(&line, "password").auth_method(method).build().err());
        errors.extend(user("user", &line).auth_method(method).build().err());
    }
    assert_eq!(errors.len(), 7 + 3 * 5, "control characters are refused");
    let mut urls = wrong_urls(&text);
    urls.push(format!("http://auth.example.com/{text}"));
    urls.push(format!("https://auth.example.com/#{text}"));
    for url in urls {
        // No code can refuse one of these URLs, because its secret looks like a host.
        errors.extend(TokenEndpoint::new(&url).err());
        errors.extend(TokenEndpoint::accepting_plain_http(&url).err());
        errors.extend(ClientCredentialsTokenProvider::builder(&url, "id", text.as_str()).build().err());
        let builder = ClientCredentialsTokenProvider::builder(&url, "id", text.as_str());
        canaries.look_at_debug("OAuth2TokenProviderBuilder", &builder);
    }
    assert!(errors.len() > 35);
    for error in errors {
        canaries.look_at_error(error.field(), &error);
    }
    canaries.end();
}

#[tokio::test]
async fn inv16_a_secret_that_cannot_be_read_is_not_told() {
    let canary = Canary::secret("content");
    let file = std::env::temp_dir().join(format!("requestforge-canary-{}", std::process::id()));
    let mut canaries = Canaries::new([]);
    let mut content = canary.text().as_bytes().to_vec();
    content.push(0xff);
    std::fs::write(&file, content).expect("a file");
    canaries.add(canary);
    let sources =
        [SecretSource::file(&file), SecretSource::file(file.join("x")), SecretSource::env("NOT_SET_7")];
    for source in sources {
        let error = source.read().await.expect_err("no secret");
        canaries.look_at_error("SecretSource", &error);
        let provider = ClientCredentialsTokenProvider::builder("https://127.0.0.1:1/", "id", source.clone());
        let manager = TokenManager::new(provider.build().expect("a provider"));
        canaries.look_at_error("TokenManager", &manager.get_token().await.expect_err("no secret"));
        canaries.look_at_debug("TokenStatus", &manager.status());
    }
    std::fs::remove_file(&file).expect("the file");
    canaries.end();
}

/// A user sets a secret by mistake instead of its path or the name of its variable.
#[tokio::test]
async fn inv16_a_secret_set_instead_of_its_path_or_variable_is_not_shown() {
    let canary = Canary::secret("misplaced");
    let text = canary.to_string();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n");
    let mut canaries = Canaries::new([canary]);
    for secret in [text.as_str(), pem.as_str(), &format!("/{text}"), &format!("https://u:{text}@vault/x")] {
        for source in [SecretSource::file(secret), SecretSource::env(secret)] {
            canaries.look_at_debug("SecretSource", &source);
            canaries.look_at_error("SecretSource, at once", &source.read_blocking().expect_err("no secret"));
            canaries.look_at_error("SecretSource", &source.read().await.expect_err("no secret"));
            let provider = ClientCredentialsTokenProvider::builder("https://127.0.0.1:1/", "id", source);
            let manager = TokenManager::new(provider.build().expect("a provider"));
            canaries.look_at_error("TokenManager", &manager.get_token().await.expect_err("no secret"));
        }
    }
    canaries.end();
}

/// A secret with the line end of its file. The provider reads it at the call.
#[tokio::test]
async fn inv16_a_secret_with_a_control_character_is_not_shown() {
    let canary = Canary::secret("line");
    let file = std::env::temp_dir().join(format!("requestforge-canary-line-{}", std::process::id()));
    std::fs::write(&file, format!("{canary}\n\n")).expect("a file");
    let mut canaries = Canaries::new([canary]);
    let source = || SecretSource::file(&file);
    let of_client = ClientCredentialsTokenProvider::builder("https://127.0.0.1:1/", "id", source());
    let of_user = PasswordGrantTokenProvider::builder("https://127.0.0.1:1/", "id", "s", "user", source());
    let in_query = ClientCredentialsTokenProvider::builder("https://127.0.0.1:1/", "id", "s");
    let in_query = in_query.secret_query_param("k", source()).build().expect("a provider");
    for error in [
        TokenManager::new(of_client.build().expect("a provider")).get_token().await,
        TokenManager::new(of_user.build().expect("a provider")).get_token().await,
        TokenManager::new(in_query).get_token().await,
    ] {
        let error = error.expect_err("a control character");
        assert!(error.to_string().contains("no control characters"), "{error}");
        canaries.look_at_error("a secret of a file", &error);
    }
    std::fs::remove_file(&file).expect("the file");
    canaries.end();
}
