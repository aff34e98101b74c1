//! The warnings that a builder logs about its settings.

use requestforge::client::HttpClientBuilder;
use requestforge::middleware::AuthMiddleware;
use requestforge::tower::AuthLayer;
use requestforge::{ApiKeyAuth, CompositeAuth, HttpClient, StaticTokenSource, TokenAuth, TokenData};

use crate::log::Log;

type Configure = fn(HttpClientBuilder) -> HttpClientBuilder;

fn tokens() -> TokenAuth {
    TokenAuth::new(StaticTokenSource::new(TokenData::new("canary")).expect("a token"))
}

/// The log of building this client.
fn built(base_url: &str, configure: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder) -> Vec<String> {
    let builder = configure(HttpClient::builder(base_url));
    let log = Log::begin();
    builder.build().expect("a client");
    log.take()
}

#[tokio::test]
async fn building_warns_once_of_credentials_over_plain_http() {
    let credentials: [Configure; 5] = [
        |builder| builder.with_bearer_token("canary"),
        |builder| builder.with_api_key("canary").with_token_auth(tokens()),
        |builder| builder.with_header("Cookie", "canary"),
        |builder| builder.with_header("X-Api-Key", "canary"),
        |builder| builder.with_bearer_token("canary").with_credential_origin("http://files.example.com"),
    ];
    for configure in credentials {
        for base_url in
            ["http://api.example.com:8080/v1", "http://10.0.0.1", "http://a.localhost", "http://[::2]"]
        {
            let log = built(base_url, configure);
            let [line] = &log[..] else { panic!("one line: {log:?}") };
            let origin = base_url.trim_end_matches("/v1");
            for part in [" WARN ", origin, "`with_plain_http_credentials`"] {
                assert!(line.contains(part), "{part} in {line}");
            }
            assert!(!line.contains("canary"), "{line}");
        }
    }
    let elsewhere = built("https://api.example.com", credentials[4]);
    assert!(elsewhere.len() == 1 && elsewhere[0].contains("http://files.example.com"), "{elsewhere:?}");
}

#[tokio::test]
async fn building_does_not_warn_of_https_of_loopback_or_without_credentials() {
    let with_token = |builder: HttpClientBuilder| builder.with_bearer_token("canary");
    for base_url in [
        "https://api.example.com",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://127.9.9.9",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]",
    ] {
        assert_eq!(built(base_url, with_token), [""; 0], "{base_url}");
    }
    let plain = "http://api.example.com";
    assert_eq!(built(plain, |builder| with_token(builder).with_plain_http_credentials()), [""; 0]);
    assert_eq!(built(plain, |builder| builder.with_header("X-Tenant", "canary")), [""; 0]);
}

#[tokio::test]
async fn building_warns_once_of_exclusions_that_match_no_path() {
    let log = built("https://api.example.com/v1/", |builder| {
        let key = ApiKeyAuth::new("canary").excluded_paths(["/v1/health", "/health", "/v1"]);
        let token = tokens().excluded_paths(["/v10/x"]).excluded_path_patterns([
            "/public/*",
            "*/health",
            "/v1*",
            "/v?/x",
        ]);
        builder.with_auth(CompositeAuth::all().with(key).with(token))
    });
    let [line] = &log[..] else { panic!("one line: {log:?}") };
    assert!(line.starts_with(" WARN "), "{line}");
    for part in ["/v1/", "\"/health\"", "\"/v1\"", "\"/v10/x\"", "\"/public/*\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    for part in ["\"/v1/health\"", "\"*/health\"", "\"/v1*\"", "\"/v?/x\""] {
        assert!(!line.contains(part), "{part} in {line}");
    }
    // The case of an escape makes no difference.
    let escaped = built("https://api.example.com/caf%c3%a9", |builder| {
        builder.with_token_auth(tokens().excluded_paths(["/caf%c3%a9/a", "/caf%C3%A9/b", "/café/c"]))
    });
    assert_eq!(escaped, [""; 0]);
    // At another origin the same exclusions may match.
    let elsewhere = built("https://api.example.com/v1", |builder| {
        let builder = builder.with_credential_origin("https://files.example.com");
        builder.with_token_auth(tokens().excluded_paths(["/health"]).excluded_path_patterns(["/public/*"]))
    });
    assert_eq!(elsewhere, [""; 0]);
}

#[tokio::test]
async fn building_warns_of_patterns_that_match_no_path() {
    for pattern in
        ["/search?x=canary*", "/a#canary*", "/a\\?b/*", "/[éè]/*", "/a/../b/*", "/./*", "/a\\\\b", "/[ \"]x"]
    {
        let log = built("https://api.example.com", |builder| {
            builder.with_token_auth(tokens().excluded_path_patterns([pattern]))
        });
        let [line] = &log[..] else { panic!("one line for {pattern}: {log:?}") };
        // The log leaves out what looks like a query, as it may hold a secret.
        let shown = pattern.split_once(['?', '#']).map_or(pattern.to_owned(), |(path, _)| format!("{path}…"));
        assert!(line.contains(" WARN ") && line.contains(&format!("{shown:?}")), "{pattern} in {line}");
    }
    for pattern in
        ["/café/*", "/a b/*", "/a/?", "/a?b/*", "/[ab]/*", "/{a,b}/*", "/caf%c3%a9/*", "/..a/*", "/v?x/y=*"]
    {
        let log = built("https://api.example.com", |builder| {
            builder.with_token_auth(tokens().excluded_path_patterns([pattern]))
        });
        assert_eq!(log, [""; 0], "{pattern}");
    }
}

#[test]
fn a_middleware_and_a_layer_warn_as_well() {
    let log = Log::begin();
    let auth = || tokens().excluded_path_patterns(["/search?x=canary*", "/café/*"]);
    AuthMiddleware::with_token_auth(auth()).origin("http://api.example.com").build().expect("a middleware");
    AuthLayer::with_token_auth(auth()).path_origin("http://api.example.com/v1").build().expect("a layer");
    let lines = log.take();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, part) in lines.iter().zip(["`plain_http_credentials`", "\"/search…\""].iter().cycle()) {
        assert!(
            line.starts_with(" WARN ")
                && line.contains(part)
                && !line.contains("caf")
                && !line.contains("canary"),
            "{line}"
        );
    }
    let silent = || tokens().excluded_paths(["/health"]);
    let middleware = AuthMiddleware::with_token_auth(silent()).origin("http://api.example.com");
    middleware.plain_http_credentials().build().expect("a middleware");
    let layer = AuthLayer::with_token_auth(silent()).path_origin("http://api.example.com");
    layer.plain_http_credentials().build().expect("a layer");
    AuthLayer::with_token_auth(silent()).origin("http://[::1]:80").build().expect("a layer");
    assert_eq!(log.take(), [""; 0]);
}
