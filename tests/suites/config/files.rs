//! Services that files describe.

use std::collections::HashMap;

use forge_tests::{Origin, RawReply, StatusCode};
use requestforge::{ServiceConfig, Services};
use serde_json::json;

use crate::log::Log;
use crate::world::{SecretFile, World, as_toml, get, in_each_format};

#[tokio::test]
async fn a_service_gets_its_tokens_in_either_format() {
    let world = World::start().await;
    let mut user = world.service();
    user["username"] = json!(world.server.username());
    user["password"] = json!({ "file": world.password.path() });
    let mut header = world.service();
    header["auth_method"] = json!("header");
    header["scope"] = json!("read write");
    for (service, grant) in
        [(world.service(), "client_credentials"), (header, "client_credentials"), (user, "password")]
    {
        for (format, config) in in_each_format(&service) {
            let calls = (world.server.token_calls(), world.server.calls_by_grant(grant));
            let client = config.client().expect("a client");
            for _ in 0..2 {
                assert_eq!(get(&client, "/users").await.status_code(), 200, "{format}");
            }
            let calls = (world.server.token_calls() - calls.0, world.server.calls_by_grant(grant) - calls.1);
            assert_eq!(calls, (1, 1), "{format}: {grant}");
        }
    }
}

#[tokio::test]
async fn a_parameter_with_a_list_is_sent_once_for_each_value() {
    let server = Origin::start(|_| RawReply::ok(r#"{"access_token":"t","token_type":"Bearer"}"#)).await;
    let server = server.expect("a server");
    let world = World::start().await;
    let mut service = world.service();
    service["token_url"] = json!(format!("{}/token", server.url()));
    service["extra_params"] = json!({ "resource": ["https://a.example", "https://b.example"], "claim": "x" });
    for (format, config) in in_each_format(&service) {
        config.token_manager().expect("a manager").get_token().await.expect("a token");
        let request = server.requests().pop().expect("a request");
        let sent = String::from_utf8_lossy(&request.bytes).into_owned();
        let both = "resource=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fb.example";
        assert!(sent.contains(both) && sent.contains("claim=x"), "{format}: {sent}");
    }
}

#[tokio::test]
async fn clients_and_manager_of_one_configuration_share_a_token() {
    let world = World::start().await;
    let [(_, config), _] = in_each_format(&world.service());
    let token = config.token_manager().expect("a manager").get_token().await.expect("a token");
    for config in [config.clone(), config] {
        get(&config.client().expect("a client"), "/users").await.error_for_status().expect("let in");
        assert!(
            config.token_manager().expect("a manager").cached().is_some_and(|same| same.id() == token.id())
        );
    }
    assert_eq!(world.server.token_calls(), 1);
}

#[tokio::test]
async fn settings_of_requests_do_what_they_say() {
    let server = Origin::start(|request| match request.target() {
        "/v1/moved" => RawReply::redirect(302, "/v1/users"),
        "/v1/busy" => RawReply::status(503),
        "/v1/silent" => RawReply::silence(),
        _ => RawReply::ok(""),
    })
    .await
    .expect("a server");
    let service = json!({
        "base_url": format!("{}/v1", server.url()),
        "headers": { "Accept": "application/json", "X-Tenant": "shop" },
        "redirects": false,
        "max_redirects": 3,
    });
    for (format, config) in in_each_format(&service) {
        let client = config.client().expect("a client");
        assert_eq!(get(&client, "/moved").await.status_code(), 302, "{format}");
        let request = server.requests().pop().expect("a request");
        assert_eq!(request.header("accept").as_deref(), Some("application/json"), "{format}");
        assert_eq!(request.header("x-tenant").as_deref(), Some("shop"), "{format}");
    }

    for timeout in ["timeout", "total_timeout"] {
        let service = json!({ "base_url": server.url(), timeout: "50ms" });
        for (format, config) in in_each_format(&service) {
            let client = config.client().expect("a client");
            let error = client.get("/v1/silent").send().await.expect_err("no answer");
            assert!(error.is_timeout(), "{format}: {timeout}");
        }
    }

    let service =
        json!({ "base_url": server.url(), "max_redirects": 0, "max_retries": 1, "total_timeout": "1m" });
    for (format, config) in in_each_format(&service) {
        let client = config.client().expect("a client");
        assert!(client.get("/v1/moved").send().await.expect_err("one too many").is_redirect(), "{format}");
        let response = get(&client, "/v1/busy").await;
        assert_eq!(
            (response.status_code(), response.attempts()),
            (StatusCode::SERVICE_UNAVAILABLE, 2),
            "{format}"
        );
    }
}

#[tokio::test]
async fn tokens_keys_and_logins_go_where_they_belong() {
    let server = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let secret = SecretFile::new("s3cret\n");
    let by_reference = json!({ "file": secret.path() });
    for (credentials, header, value) in [
        (json!({ "bearer_token": by_reference }), "authorization", "Bearer s3cret"),
        (json!({ "api_key": by_reference }), "x-api-key", "s3cret"),
        (json!({ "api_key": by_reference, "api_key_header": "X-Service-Key" }), "x-service-key", "s3cret"),
        (
            json!({ "basic_username": "user", "basic_password": by_reference }),
            "authorization",
            "Basic dXNlcjpzM2NyZXQ=",
        ),
    ] {
        let mut service = credentials;
        service["base_url"] = json!(server.url());
        service["excluded_paths"] = json!(["/health"]);
        service["excluded_path_patterns"] = json!(["/public/*"]);
        for (format, config) in in_each_format(&service) {
            let client = config.client().expect("a client");
            for (path, expected) in [("/users", Some(value)), ("/health", None), ("/public/a", None)] {
                get(&client, path).await;
                let sent = server.requests().pop().expect("a request").header(header);
                assert_eq!(sent.as_deref(), expected, "{format}: {header} at {path}");
            }
        }
    }
}

#[tokio::test]
async fn services_are_tables_and_called_by_their_names() {
    let world = World::start().await;
    let mut named = world.service();
    named["service_name"] = json!("search-api");
    let file = format!("[billing]\n{}\n[search]\n{}", as_toml(&world.service()), as_toml(&named));
    let services: Services = toml::from_str(&file).expect("services");
    let key = |name| {
        let manager = services.get(name).and_then(ServiceConfig::token_manager).expect("a manager");
        manager.cache_key().to_owned()
    };
    assert!(key("billing").starts_with("auth_token:billing:"), "{}", key("billing"));
    assert!(key("search").starts_with("auth_token:search-api:"), "{}", key("search"));
    assert_eq!(services.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["billing", "search"]);
    let error = services.get("mail").expect_err("no such service").to_string();
    assert_eq!(error, "`mail`: expected one of the services: billing, search");

    world.server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
    let client = services.get("billing").expect("a service").client().expect("a client");
    let error = client.get("/users").send().await.expect_err("no token");
    assert_eq!(error.authentication_error().expect("no token").service_name(), "billing");
    world.server.set_failing(None);

    let map: HashMap<String, ServiceConfig> = toml::from_str(&file).expect("services");
    get(&map["billing"].client().expect("a client"), "/users").await.error_for_status().expect("let in");
}

#[tokio::test]
async fn inv13_only_public_headers_go_to_other_origins() {
    let server = Origin::start(|_| RawReply::ok("")).await.expect("a server");
    let service = json!({
        "base_url": "https://api.example.com",
        "headers": { "X-Tenant": "shop", "X-Region": "eu" },
        "public_headers": ["X-Tenant"],
    });
    for (format, config) in in_each_format(&service) {
        get(&config.client().expect("a client"), &server.url()).await;
        let request = server.requests().pop().expect("a request");
        let sent = ["x-tenant", "x-region"].map(|name| request.header(name));
        assert_eq!(sent, [Some("shop".to_owned()), None], "{format}");
    }
    let mut service = service;
    service["public_headers"] = json!(["Authorization"]);
    for (format, config) in in_each_format(&service) {
        assert_eq!(config.client().expect_err("refused").fields(), ["public_headers"], "{format}");
    }
}

#[tokio::test]
async fn building_warns_of_credentials_over_plain_http_unless_they_are_accepted() {
    let secret = SecretFile::new("s3cret");
    for (accepted, lines) in [(json!(false), 1), (json!(true), 0)] {
        let service = json!({
            "base_url": "http://api.example.com",
            "bearer_token": { "file": secret.path() },
            "plain_http_credentials": accepted,
        });
        for (format, config) in in_each_format(&service) {
            let log = Log::begin();
            config.client().expect("a client");
            let logged = log.take();
            assert_eq!(logged.len(), lines, "{format}: {logged:?}");
            assert!(logged.iter().all(|line| line.contains("`plain_http_credentials`")), "{logged:?}");
        }
    }
}
