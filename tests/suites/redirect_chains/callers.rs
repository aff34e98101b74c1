use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forge_tests::StatusCode;
use http::{HeaderMap, HeaderName, HeaderValue};
use requestforge::auth::{AuthHook, AuthRequest};
use requestforge::client::{HttpClientBuilder, RequestBuilder};
use requestforge::hooks::OutgoingRequest;
use requestforge::{
    ApiKeyAuth, AuthenticationError, BasicAuth, CompositeAuth, HttpClient, SimpleRetryStrategy, TokenData,
    token_source_fn,
};

use crate::chain::{AuthKind, Chain};
use crate::world::World;

/// A client, and the marks that identify its credentials on the wire.
pub(crate) struct Caller {
    client: HttpClient,
    /// The marks of its authentication.
    pub(crate) auth: Vec<&'static str>,
    /// The marks of its default headers and its hooks.
    pub(crate) defaults: Vec<&'static str>,
    /// The marks of the headers that a request sets by hand.
    pub(crate) own: Vec<&'static str>,
}

/// The mark of the authentication that a request brings.
pub(crate) const OTHER: &str = "canary-other";
pub(crate) const BODY: &str = "canary-body";
/// `canary-user:canary-password` in base64. The next constant has the marks of a location's user-info.
pub(crate) const BASIC: &str = "Y2FuYXJ5LXVzZXI6Y2FuYXJ5LXBhc3N3b3Jk";
pub(crate) const USER_INFO: [&str; 2] = ["canary-word", "Y2FuYXJ5LW5hbWU"];

/// The clients. Each kind of credential belongs to one of them.
pub(crate) fn callers(world: &World) -> Vec<Caller> {
    let issued = std::sync::Arc::new(AtomicUsize::new(0));
    let tokens = token_source_fn(move || {
        let number = issued.fetch_add(1, Ordering::Relaxed);
        async move { Ok(TokenData::new(format!("canary-token-{number}"))) }
    });
    let with_tokens = client(world, |builder| {
        builder
            .with_token_auth(tokens)
            .with_api_key("canary-key")
            .with_headers([("Cookie", "canary-cookie"), ("DPoP", "canary-dpop"), ("API-Sign", "canary-sign")])
            .with_headers([("Proxy-Authorization", "canary-proxy"), ("Referer", "http://canary-referer/")])
            .with_request_hook(|request: &mut OutgoingRequest<'_>| {
                request.set_header("x-session-id", "canary-session")
            })
    });
    let mut marked = HeaderValue::from_static("canary-marked");
    marked.set_sensitive(true);
    let with_several = client(world, |builder| {
        let auth = CompositeAuth::all().with(BasicAuth::new("canary-user", "canary-password"));
        builder.with_auth(auth.with(Signature)).with_header("x-plain", marked)
    });
    let with_nothing = client(world, |builder| builder);
    vec![
        Caller {
            client: with_tokens,
            auth: vec!["canary-token", "canary-key"],
            defaults: vec![
                "canary-cookie",
                "canary-dpop",
                "canary-proxy",
                "canary-referer",
                "canary-session",
                "canary-sign",
            ],
            own: vec!["canary-own-key", "canary-own-crumb"],
        },
        Caller {
            client: with_several,
            auth: vec![BASIC, "canary-signature"],
            defaults: vec!["canary-marked"],
            own: vec!["canary-own-key", "canary-own-cookie"],
        },
        Caller {
            client: with_nothing,
            auth: vec![],
            defaults: vec![],
            own: vec![
                "canary-own-key",
                "canary-own-cookie",
                "canary-own-authorization",
                "canary-own-dpop",
                "canary-own-proxy",
                "canary-own-referer",
            ],
        },
    ]
}

fn client(world: &World, configure: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder) -> HttpClient {
    let names = world.origins.names.clone();
    let retries = SimpleRetryStrategy::new().max_retries(1).delay(Duration::ZERO);
    configure(HttpClient::builder(format!("http://{}", world.origins.home)))
        .with_credential_origin(format!("http://{}", world.origins.also_home))
        .with_retry_strategy(retries)
        .with_http(move |http| {
            names.iter().fold(http.no_proxy(), |http, (name, address)| http.resolve(name, *address))
        })
        .build()
        .expect("a client")
}

impl Caller {
    pub(crate) async fn follow(&self, chain: &Chain) {
        let method = chain.method.parse().expect("a method");
        let mut request = self.client.request(method, &chain.begins);
        if chain.has_body {
            request = request.body(BODY);
        }
        if chain.has_own_headers {
            request = self.own.iter().fold(request, |request, mark| set(request, mark));
        }
        request = match chain.auth {
            AuthKind::AsTheClientDoes => request,
            AuthKind::Otherwise => request.auth(ApiKeyAuth::new(OTHER).header_name("x-odd")),
            AuthKind::Not => request.no_auth(),
        };
        match request.send().await {
            Ok(response) => {
                let status = response.status_code();
                let may_be = [StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE];
                assert!(may_be.contains(&status), "{status}: {chain:?}");
                // Only the caller sets user-info. Not even the response shows any other.
                let url = response.url();
                assert!(url.username().is_empty() && url.password().is_none(), "user-info: {chain:?}");
            }
            Err(error) => assert!(error.is_redirect(), "{error:?}: {chain:?}"),
        }
    }
}

fn set(request: RequestBuilder, mark: &'static str) -> RequestBuilder {
    let name = match mark {
        "canary-own-key" => "x-own-key",
        "canary-own-crumb" => "jenkins-crumb",
        "canary-own-cookie" => "cookie",
        "canary-own-authorization" => "authorization",
        "canary-own-dpop" => "dpop",
        "canary-own-proxy" => "proxy-authorization",
        _ => "referer",
    };
    request.header(name, mark)
}

#[derive(Debug)]
struct Signature;

impl AuthHook for Signature {
    fn header_names(&self) -> Vec<HeaderName> {
        vec![HeaderName::from_static("x-plain-too")]
    }

    fn authenticate(&self, _request: &AuthRequest<'_>) -> Result<HeaderMap, AuthenticationError> {
        let name = HeaderName::from_static("x-plain-too");
        Ok(HeaderMap::from_iter([(name, HeaderValue::from_static("canary-signature"))]))
    }
}
