//! What providers send, and which of it is in their keys.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use forge_core::{AuthenticationError, TokenData, TokenProvider, async_trait};
use http::StatusCode;

use crate::provider::OAuth2TokenProviderBuilder;
use crate::{ClientCredentials, ClientCredentialsTokenProvider, TokenRequest, TokenResponse, TokenTransport};

const URL: &str = "https://auth.example.com/token";

fn client() -> OAuth2TokenProviderBuilder<ClientCredentials> {
    ClientCredentialsTokenProvider::builder(URL, "a", "secret").service_name("crm")
}

fn key(builder: OAuth2TokenProviderBuilder<ClientCredentials>) -> String {
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
