//! A server with an endpoint for each step, a storage, and pipelines over both.

use std::sync::Arc;
use std::time::Duration;

use forge_tests::{MultiStepServer, RedisServer, Step};
use requestforge::pipeline::{
    HttpTokenFetcherBuilder, InBody, InHeader, SharedSteps, TokenFetchPipelineBuilder,
};
use requestforge::testing::ManualClock;
use requestforge::token::Clock;
use requestforge::{
    BodyTokenFetcher, ContentType, FetchContext, HeaderTokenFetcher, HttpClient, InMemoryTokenStorage,
    PipelineTokenProvider, RedisTokenStorage, TokenAuth, TokenData, TokenFetchPipeline, TokenManager,
    TokenStorage,
};
use tokio::time::{sleep, timeout};

/// The limit for everything that is not measured.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const PREFIX: &str = "myapp";

pub(crate) struct World {
    pub(crate) server: MultiStepServer,
    pub(crate) storage: Arc<dyn TokenStorage>,
    /// The clock of pipelines and managers. It does not move by itself, so nothing expires and no cool-down
    /// ends.
    pub(crate) clock: Arc<ManualClock>,
    _redis: Option<RedisServer>,
}

impl World {
    pub(crate) async fn over_memory() -> Self {
        let clock = Arc::new(ManualClock::new());
        let storage = InMemoryTokenStorage::builder().clock(Arc::clone(&clock) as _).build();
        Self::over(Arc::new(storage), clock, None).await
    }

    pub(crate) async fn over_redis() -> Self {
        let redis = RedisServer::start().await;
        // The default is a limit for outages. In a test run a slow response only means a busy machine.
        let storage = RedisTokenStorage::builder(redis.url()).command_timeout(Duration::from_secs(10));
        let storage = Arc::new(storage.build().expect("a storage"));
        Self::over(storage, Arc::new(ManualClock::new()), Some(redis)).await
    }

    async fn over(
        storage: Arc<dyn TokenStorage>,
        clock: Arc<ManualClock>,
        redis: Option<RedisServer>,
    ) -> Self {
        let server = MultiStepServer::start().await.expect("a server");
        Self { server, storage, clock, _redis: redis }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as _
    }

    fn body(&self, step: Step) -> HttpTokenFetcherBuilder<InBody> {
        BodyTokenFetcher::builder(step.name(), self.server.base_url(), step.path()).clock(self.clock())
    }

    pub(crate) fn app(&self) -> HttpTokenFetcherBuilder<InBody> {
        self.body(Step::App).request_data([
            ("grant_type", "client_credentials"),
            ("client_id", self.server.client_id()),
            ("client_secret", self.server.client_secret()),
        ])
    }

    pub(crate) fn device(&self) -> HttpTokenFetcherBuilder<InBody> {
        self.body(Step::Device)
            .request_data([("device_id", self.server.device_id()), ("device_key", self.server.device_key())])
    }

    pub(crate) fn user(&self) -> HttpTokenFetcherBuilder<InBody> {
        self.body(Step::User)
            .content_type(ContentType::Json)
            .request_data([("username", self.server.username()), ("password", self.server.password())])
            .depends_on(["app_token"])
            .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
    }

    /// The step of the user's token, if its endpoint also wants the token of the device.
    pub(crate) fn user_of_two(&self) -> HttpTokenFetcherBuilder<InBody> {
        self.server.want_device_token(true);
        self.user()
            .depends_on(["device_token"])
            .request_headers_with(|context| [("X-Device-Token", context.get_token_value("device_token"))])
    }

    pub(crate) fn session(&self) -> HttpTokenFetcherBuilder<InHeader> {
        HeaderTokenFetcher::builder(Step::Session.name(), self.server.base_url(), Step::Session.path())
            .clock(self.clock())
            .token_header("X-Session-Id")
            .depends_on(["user_token"])
            .request_headers_with(|context| [("Authorization", bearer(context))])
    }

    /// A pipeline from the app token over the user token to the session.
    pub(crate) fn three_steps(&self) -> TokenFetchPipelineBuilder {
        self.pipeline()
            .step(self.app().build().expect("a step"))
            .step(self.user().build().expect("a step"))
            .step(self.session().build().expect("a step"))
    }

    /// A pipeline without steps yet.
    pub(crate) fn pipeline(&self) -> TokenFetchPipelineBuilder {
        TokenFetchPipeline::builder()
            .storage(Arc::clone(&self.storage))
            .cache_key_prefix(PREFIX)
            .clock(self.clock())
    }

    /// A pipeline without steps yet, which shares the steps of other pipelines.
    pub(crate) fn sharing_pipeline(&self, shared: &SharedSteps) -> TokenFetchPipelineBuilder {
        TokenFetchPipeline::builder().shared_steps(shared).cache_key_prefix(PREFIX).clock(self.clock())
    }

    pub(crate) fn shared_steps(&self) -> SharedSteps {
        SharedSteps::new(Arc::clone(&self.storage))
    }

    /// A manager over the same storage as the pipeline.
    pub(crate) fn manager(&self, provider: PipelineTokenProvider) -> TokenManager {
        let manager = TokenManager::builder(provider).storage(Arc::clone(&self.storage));
        manager.clock(self.clock()).build().expect("a manager")
    }

    pub(crate) fn client(&self, manager: &TokenManager) -> HttpClient {
        HttpClient::builder(self.server.base_url())
            .with_token_auth(TokenAuth::new(manager.clone()))
            // Over HTTP/2 all requests share a connection. Over HTTP/1 they would need thousands of sockets.
            .with_http(|http| http.no_proxy().http2_prior_knowledge())
            .build()
            .expect("a client")
    }
}

/// The header with the user's token, as the endpoint of the session wants it.
pub(crate) fn bearer(context: &FetchContext) -> Option<String> {
    context.get_token("user_token").map(TokenData::authorization_header)
}

pub(crate) fn provider(pipeline: &TokenFetchPipeline) -> PipelineTokenProvider {
    PipelineTokenProvider::new(pipeline.clone(), PREFIX)
}

/// Waits until the condition holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect("it comes about");
}
