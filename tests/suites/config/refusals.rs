//! Errors name the invalid field and show no secret.

use std::collections::HashMap;

use requestforge::{ServiceConfig, Services};
use serde_json::{Value, json};

use crate::canaries::{Canaries, Canary};
use crate::world::{as_toml, in_each_format};

const SECRETS: [&str; 6] =
    ["bearer_token", "api_key", "basic_password", "client_secret", "password", "redis_password"];

/// A service with this value as its secret. Everything else in it is valid.
fn with(secret: &str, value: Value) -> Value {
    let reference = json!({ "env": "NOT_SET" });
    let mut service = match secret {
        "bearer_token" | "api_key" => json!({}),
        "basic_password" => json!({ "basic_username": "u" }),
        _ => json!({
            "token_url": "https://auth.example.com/token",
            "client_id": "shop",
            "client_secret": reference,
            "username": "u",
            "password": reference,
            "redis_url": "redis://127.0.0.1:1",
        }),
    };
    service["base_url"] = json!("https://api.example.com");
    service[secret] = value;
    service
}

#[test]
fn inv16_a_secret_in_the_file_is_refused_and_not_told() {
    let canary = Canary::secret("secret");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    for secret in SECRETS {
        for value in
            [json!(text), json!([text]), json!({ "value": text }), json!({ "file": text, "env": text })]
        {
            for (format, config) in in_each_format(&with(secret, value)) {
                canaries.look_at_debug("config", &config);
                let error = config.client().expect_err("refused");
                assert_eq!(error.fields(), [secret], "{format}: {error}");
                assert!(error.to_string().contains("{ file = \"/path\" } or { env = \"NAME\" }"), "{error}");
                canaries.look_at_error(secret, &error);
            }
        }
        assert!(
            in_each_format(&with(secret, json!({ "env": "NOT_SET" })))
                .iter()
                .all(|(_, c)| c.client().is_ok())
        );
    }
    let canary = Canary::alphanumeric("password");
    let url = format!("redis://:{canary}@127.0.0.1:1");
    canaries.add(canary);
    for url in [&url, &text] {
        for (_, config) in in_each_format(&with("redis_url", json!(url))) {
            let error = config.client().expect_err("refused");
            assert_eq!(error.fields(), ["redis_url"]);
            canaries.look_at_error("redis_url", &error);
        }
    }
    canaries.end();
}

#[tokio::test]
async fn inv16_what_stands_where_something_else_should_is_not_told() {
    let canary = Canary::secret("value");
    let text = canary.to_string();
    let mut canaries = Canaries::new([canary]);
    for field in [
        "base_url",
        "headers",
        "public_headers",
        "plain_http_credentials",
        "timeout",
        "total_timeout",
        "connect_timeout",
        "max_retries",
        "redirects",
        "max_redirects",
        "token_url",
        "extra_params",
        "scope_on_refresh",
        "secret_query_params",
        "auth_method",
        "danger_accept_plain_http",
        "excluded_paths",
    ] {
        let mut service = with("client_secret", json!({ "env": "NOT_SET" }));
        service[field] = json!(text);
        for (format, config) in in_each_format(&service) {
            canaries.look_at_debug("config", &config);
            let error = config.client().expect_err("refused");
            assert_eq!(error.fields(), [field], "{format}: {error}");
            canaries.look_at_error(field, &error);
        }
    }
    canaries.end();
}

#[test]
fn a_field_that_does_not_exist_is_named() {
    let mut service = with("bearer_token", json!({ "env": "NOT_SET" }));
    service["timeuot"] = json!("5s");
    let json = serde_json::from_str::<ServiceConfig>(&service.to_string()).expect_err("refused").to_string();
    let toml = toml::from_str::<ServiceConfig>(&as_toml(&service)).expect_err("refused").to_string();
    for error in [json, toml] {
        assert!(error.contains("unknown field `timeuot`"), "{error}");
    }
    let table = format!("[billing]\n{}", as_toml(&service));
    assert!(toml::from_str::<Services>(&table).is_err());
    assert!(toml::from_str::<HashMap<String, ServiceConfig>>(&table).is_err());
}

#[test]
fn errors_name_the_service() {
    let table =
        format!("[billing]\n{}timeout = \"soon\"", as_toml(&with("api_key", json!({ "env": "NOT_SET" }))));
    let services: Services = toml::from_str(&table).expect("services");
    let error = services.get("billing").expect("a service").client().expect_err("refused");
    assert_eq!((error.service(), error.fields()), (Some("billing"), &["timeout".to_owned()][..]));
    let text = error.to_string();
    assert!(text.starts_with("service `billing`: `timeout`: expected a duration such as \"30s\""), "{text}");

    let mut none = with("api_key", json!({ "env": "NOT_SET" }));
    none.as_object_mut().expect("fields").retain(|field, _| field == "base_url");
    for (_, config) in in_each_format(&none) {
        assert!(config.client().is_ok());
        let error = config.token_manager().expect_err("no credentials");
        assert!(error.fields().contains(&"token_url".to_owned()), "{error}");
    }
}
