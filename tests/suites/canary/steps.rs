//! The steps of a pipeline: their inputs, their requests, and their results.

use forge_tests::{MultiStepServer, Origin, RawReply, StatusCode, Step};
use requestforge::pipeline::{HttpMethod, TokenFetchPipelineBuilder};
use requestforge::{
    AuthenticationError, BodyTokenFetcher, ContentType, FetchContext, HeaderTokenFetcher, HttpClient,
    PipelineTokenProvider, Secret, TokenData, TokenFetchPipeline, TokenFetcher, TokenManager, TokenProvider,
    async_trait,
};
use serde_json::{Value, json};

use crate::canaries::{Canaries, Canary};
use crate::refusals::{Calls, Client, once};

/// All secrets that a step may send.
#[derive(Clone)]
struct Secrets {
    field: String,
    nested: String,
    later_field: String,
    header: String,
    first: String,
}

impl Secrets {
    fn new(canaries: &mut Canaries) -> Self {
        let mut made = |canary: Canary| {
            let text = canary.to_string();
            canaries.add(canary);
            text
        };
        Self {
            field: made(Canary::secret("field of a step")),
            nested: made(Canary::secret("value within a field of a step")),
            later_field: made(Canary::secret("field of a step, by a closure")),
            header: made(Canary::token("header of a step")),
            first: made(Canary::token("token of the step before")),
        }
    }

    fn sent_by(&self, kind: Kind) -> Vec<String> {
        let Self { field, nested, later_field, header, first } = self;
        let sent_by_all = [field, later_field, header, first].map(Clone::clone);
        sent_by_all.into_iter().chain(matches!(kind, Kind::Json).then(|| nested.clone())).collect()
    }
}

/// A token that is not from this server: only the next step asks the server.
struct First(String);

#[async_trait]
impl TokenFetcher for First {
    fn name(&self) -> &'static str {
        "first"
    }

    async fn fetch(&self, _: &FetchContext) -> Result<TokenData, AuthenticationError> {
        Ok(TokenData::new(self.0.as_str()))
    }
}

/// The kinds of steps. Each sends all the secrets that it can.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Form,
    Json,
    Query,
    Header,
    Cookie,
}

const KINDS: [Kind; 5] = [Kind::Form, Kind::Json, Kind::Query, Kind::Header, Kind::Cookie];

/// A pipeline whose last step calls this URL.
fn pipeline(kind: Kind, url: &str, secrets: &Secrets) -> TokenFetchPipelineBuilder {
    let later = secrets.later_field.clone();
    let later = move |context: &FetchContext| {
        [("later", Some(Secret::from(later.as_str()))), ("first", context.get_token_value("first"))]
    };
    let body = || {
        BodyTokenFetcher::builder("second", url, "/token")
            .depends_on(["first"])
            .request_headers([("X-Key", &secrets.header)])
            .request_headers_with(|context| [("X-First", context.get_token_value("first"))])
            .request_data([("password", &secrets.field)])
            .request_data_with(later.clone())
    };
    let pipeline =
        TokenFetchPipeline::builder().cache_key_prefix("canary").step(First(secrets.first.clone()));
    match kind {
        Kind::Form => pipeline.step(body().build().expect("a step")),
        Kind::Json => {
            let nested = json!({ "deep": [{ "password": secrets.nested }] });
            let step = body().content_type(ContentType::Json).request_data([("nested", nested)]);
            pipeline.step(step.build().expect("a step"))
        }
        Kind::Query => pipeline.step(body().method(HttpMethod::Get).build().expect("a step")),
        Kind::Header => pipeline.step(
            HeaderTokenFetcher::builder("second", url, "/token")
                .depends_on(["first"])
                .request_headers([("X-Key", &secrets.header)])
                .request_data([("password", &secrets.field)])
                // A server may know the token of the step before, and name it, although the request does not
                // contain it.
                .request_data_with(move |context| later(context).into_iter().take(1))
                .build()
                .expect("a step"),
        ),
        Kind::Cookie => pipeline.step(
            HeaderTokenFetcher::builder("second", url, "/token")
                .depends_on(["first"])
                .request_headers([("Cookie", format!("lang=de; key={}", secrets.header))])
                .request_data([("password", &secrets.field)])
                .request_data_with(move |context| later(context).into_iter().take(1))
                .cookie("sid")
                .build()
                .expect("a step"),
        ),
    }
}

/// Clients for the suite of echoing endpoints: one for each kind of step.
pub(crate) fn clients(token_url: &str, canaries: &mut Canaries) -> Vec<Client> {
    let url = token_url.trim_end_matches("/token").trim_end_matches('/').to_owned();
    let secrets = Secrets::new(canaries);
    let client = |kind| {
        let (url, secrets) = (url.clone(), secrets.clone());
        Client {
            kind: format!("a step, {kind:?}"),
            secrets: secrets.sent_by(kind),
            calls: Calls::Steps(Box::new(move || {
                pipeline(kind, &url, &secrets).build().expect("a pipeline")
            })),
        }
    };
    KINDS.map(client).into()
}

#[tokio::test]
async fn inv16_steps_pipelines_and_contexts_are_not_shown() {
    let mut canaries = Canaries::new([]);
    let secrets = Secrets::new(&mut canaries);
    let key = Canary::secret("key in the query of a step");
    let query = serde_urlencoded::to_string([("key", key.text())]).expect("a query");
    let answered = [Canary::token("token of a step"), Canary::token("extra of a token")];
    let [token, extra] = answered.each_ref().map(ToString::to_string);
    canaries.add(key);
    for canary in answered {
        canaries.add(canary);
    }
    let server = Origin::start(move |_| {
        let body = json!({ "access_token": token, "id_token": extra }).to_string();
        let reply = RawReply::ok(body).with_header("authorization", format!("Bearer {token}"));
        reply.with_header("set-cookie", format!("sid={token}; Path=/"))
    });
    let server = server.await.expect("a server");
    for kind in KINDS {
        let builder = pipeline(kind, &server.url(), &secrets);
        canaries.look_at_debug("TokenFetchPipelineBuilder", &builder);
        let pipeline = builder.build().expect("a pipeline");
        canaries.look_at_debug("TokenFetchPipeline", &pipeline);
        let token = pipeline.execute(false).await.expect("a token");
        canaries.look_at_debug("what a pipeline gives", &token);
        canaries.look_at_debug("TokenFetchPipeline, used", &pipeline);
        let provider = PipelineTokenProvider::new(pipeline, "canary");
        canaries.look_at_debug("PipelineTokenProvider", &provider);
        canaries.look_at("a cache key", TokenProvider::cache_key(&provider));
        let manager = TokenManager::new(provider);
        manager.get_token().await.expect("a token");
        canaries.look_at_debug("TokenManager", &manager);
    }
    let agent = secrets.field.clone();
    let endpoint = format!("/token?{query}");
    let builder = BodyTokenFetcher::builder("a", "https://auth.example.com", &endpoint)
        .request_data([("password", &secrets.field)])
        .request_headers([("X-Key", &secrets.header)])
        .http(move |http| http.user_agent(agent.as_str()));
    canaries.look_at_debug("HttpTokenFetcherBuilder, body", &builder);
    let builder = HeaderTokenFetcher::builder("a", "https://auth.example.com", &endpoint)
        .request_data([("password", &secrets.field)])
        .request_headers([("X-Key", &secrets.header)]);
    canaries.look_at_debug("HttpTokenFetcherBuilder, header", &builder);
    canaries.look_at_debug("HeaderTokenFetcher", &builder.build().expect("a step"));
    // The server did get all secrets. A suite that sends nothing proves nothing.
    let requests = server.requests();
    assert_eq!(requests.len(), KINDS.len());
    assert!(requests.iter().all(|request| request.contains(&secrets.header)));
    canaries.end();
}

/// Answers with tokens that a client cannot use.
#[tokio::test]
async fn inv16_malformed_answers_to_steps_are_not_told() {
    let mut canaries = Canaries::new([]);
    let secrets = Secrets::new(&mut canaries);
    let answered = [Canary::token("token of a step"), Canary::token("refresh token of a step")];
    let [token, refresh] = answered.each_ref().map(ToString::to_string);
    for canary in answered {
        canaries.add(canary);
    }
    let whole = json!({ "access_token": token, "token_type": "Bearer", "refresh_token": refresh });
    let with = |field: &str, value: Value| {
        let mut answer = whole.clone();
        answer[field] = value;
        answer.to_string()
    };
    let bodies = [
        with("access_token", json!(format!("{token}\r\nX-Evil: {token}"))),
        with("access_token", json!([token])),
        with("access_token", json!({ &token: token })),
        with("access_token", json!("")),
        with("token_type", json!([token])),
        with("token_type", json!(format!("{token}\n"))),
        with("expires_in", json!(token)),
        with("refresh_token", json!({ &refresh: 1 })),
        json!({ "data": whole }).to_string(),
        json!([whole]).to_string(),
        whole.to_string().replace('}', ""),
        format!("access_token={token}&token_type=Bearer"),
        format!("{token}{}", "x".repeat(2 << 20)),
    ];
    let server = Origin::start(|_| RawReply::status(500)).await.expect("a server");
    for body in bodies {
        let case = body.replace(&token, "…").chars().take(70).collect::<String>();
        // The session's header has a character that no header of ours may have.
        let header = format!("{token}\u{fc}");
        server.set_reply(move |_| {
            let reply = RawReply::ok(body.clone()).with_header("authorization", &header);
            reply.with_header("set-cookie", format!("sid={header}; Path=/"))
        });
        for kind in KINDS {
            let pipeline = pipeline(kind, &server.url(), &secrets).build().expect("a pipeline");
            let error = pipeline.execute(false).await.expect_err(&case);
            canaries.look_at_error(&format!("malformed: {case}, {kind:?}"), &error);
            canaries.look_at_debug("TokenFetchPipeline", &pipeline);
        }
    }
    canaries.end();
}

/// Answers that are not HTTP, break off, or never come.
#[tokio::test]
async fn inv16_broken_exchanges_of_steps_are_not_told() {
    let mut canaries = Canaries::new([]);
    let secrets = Secrets::new(&mut canaries);
    let text = secrets.first.clone();
    let answers = [
        String::new(),
        format!("{text}\r\n\r\n"),
        format!("HTTP/1.1 {text} {text}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{text}: x\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {text}\x01\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{text}"),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;{text}\r\nhello{text}\r\n"),
    ];
    for kind in KINDS {
        for answer in &answers {
            let case = answer.replace(&text, "…");
            let url = format!("http://{}", once(answer.clone()).await);
            // The second pipeline finds no server there.
            for what in ["broken", "refused"] {
                let pipeline = pipeline(kind, &url, &secrets).build().expect("a pipeline");
                let error = pipeline.execute(false).await.expect_err(&case);
                canaries.look_at_error(&format!("{what}: {case:?}, {kind:?}"), &error);
            }
        }
    }
    canaries.end();
}

/// A fetcher of the user that tells all secrets in its panics. No output may show those.
#[tokio::test]
async fn inv16_a_step_of_ones_own_that_panics_is_not_told() {
    struct Panicking(String);

    #[async_trait]
    impl TokenFetcher for Panicking {
        fn name(&self) -> &'static str {
            "panicking"
        }

        async fn fetch(&self, _: &FetchContext) -> Result<TokenData, AuthenticationError> {
            std::panic::resume_unwind(Box::new(self.0.clone()));
        }
    }

    let canary = Canary::secret("words of a panic");
    let step = Panicking(canary.to_string());
    let mut canaries = Canaries::new([canary]);
    let pipeline = TokenFetchPipeline::builder().step(step).build().expect("a pipeline");
    canaries.look_at_error("a panic", &pipeline.execute(false).await.expect_err("it panicked"));
    canaries.end();
}

/// The session for the suite of logs: all steps with a server that checks each credential, and with revoked,
/// refused and failing ones.
pub(crate) async fn session(canaries: &mut Canaries) {
    let server = MultiStepServer::start().await.expect("a server");
    for (name, secret) in [
        ("client secret of steps", server.client_secret()),
        ("device key", server.device_key()),
        ("password of steps", server.password()),
    ] {
        canaries.add(Canary::of(name, secret));
    }
    let wrong = Canary::secret("wrong password of steps");
    let client = |password: &str| {
        let app = BodyTokenFetcher::builder("app_token", server.base_url(), Step::App.path()).request_data([
            ("grant_type", "client_credentials"),
            ("client_id", server.client_id()),
            ("client_secret", server.client_secret()),
        ]);
        let device = BodyTokenFetcher::builder("device_token", server.base_url(), Step::Device.path())
            .method(HttpMethod::Get)
            .request_data([("device_id", server.device_id()), ("device_key", server.device_key())]);
        let user = BodyTokenFetcher::builder("user_token", server.base_url(), Step::User.path())
            .content_type(ContentType::Json)
            .request_data([("username", server.username()), ("password", password)])
            .depends_on(["app_token", "device_token"])
            .request_headers_with(|context| {
                [
                    ("X-App-Token", context.get_token_value("app_token")),
                    ("X-Device-Token", context.get_token_value("device_token")),
                ]
            });
        let session = HeaderTokenFetcher::builder("session", server.base_url(), Step::Session.path())
            .token_header("X-Session-Id")
            .depends_on(["user_token"])
            .request_headers_with(|context| {
                [("Authorization", context.get_token("user_token").map(TokenData::authorization_header))]
            });
        let pipeline = TokenFetchPipeline::builder()
            .cache_key_prefix("canary")
            .step(app.build().expect("a step"))
            .step(device.build().expect("a step"))
            .step(user.build().expect("a step"))
            .step(session.build().expect("a step"))
            .build()
            .expect("a pipeline");
        let provider = PipelineTokenProvider::new(pipeline, "canary").refresh_from_step("session");
        let manager = TokenManager::new(provider.expect("a step"));
        HttpClient::builder(server.base_url()).with_token_auth(manager).build().expect("a client")
    };
    server.want_device_token(true);
    let good = client(server.password());
    for _ in 0..2 {
        assert!(good.get("/orders").send().await.expect("an answer").is_success());
        for step in Step::ALL {
            server.revoke(step);
            server.set_echoing(step, true);
        }
    }
    assert!(good.get("/orders").send().await.expect("an answer").is_success());
    client(wrong.text()).get("/orders").send().await.expect_err("a wrong password");
    canaries.add(wrong);
    for step in Step::ALL {
        server.set_failing(step, Some(StatusCode::BAD_GATEWAY));
        client(server.password()).get("/orders").send().await.expect_err("a failing step");
        server.set_failing(step, None);
    }
    assert!(Step::ALL[2..].iter().all(|step| server.refused(*step) > 0), "revoked tokens were refused");
    for step in Step::ALL {
        for token in server.tokens_issued(step) {
            canaries.add(Canary::of(step.name(), &token));
        }
    }
}
