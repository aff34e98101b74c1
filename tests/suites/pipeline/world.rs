//! A server of several steps, a storage, and pipelines between them.

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

/// How long anything may take that is not measured.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const PREFIX: &str = "myapp";

pub(crate) struct World {
    pub(crate) server: MultiStepServer,
    pub(crate) storage: Arc<dyn TokenStorage>,
    /// Of pipelines and managers. It stands still, so nothing expires and no cool-down ends by itself.
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
        // The default is a bound for outages; here others only have the processors.
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

    /// The user's token, for which that of the machine is wanted, too.
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

    /// App token, user token, session; without a step, a prefix or a storage: with those of this world.
    pub(crate) fn three_steps(&self) -> TokenFetchPipelineBuilder {
        self.pipeline()
            .step(self.app().build().expect("a step"))
            .step(self.user().build().expect("a step"))
            .step(self.session().build().expect("a step"))
    }

    /// No step yet.
    pub(crate) fn pipeline(&self) -> TokenFetchPipelineBuilder {
        TokenFetchPipeline::builder()
            .storage(Arc::clone(&self.storage))
            .cache_key_prefix(PREFIX)
            .clock(self.clock())
    }

    /// No step yet; shares those of other pipelines.
    pub(crate) fn sharing_pipeline(&self, shared: &SharedSteps) -> TokenFetchPipelineBuilder {
        TokenFetchPipeline::builder().shared_steps(shared).cache_key_prefix(PREFIX).clock(self.clock())
    }

    pub(crate) fn shared_steps(&self) -> SharedSteps {
        SharedSteps::new(Arc::clone(&self.storage))
    }

    /// Over the same storage as the pipeline.
    pub(crate) fn manager(&self, provider: PipelineTokenProvider) -> TokenManager {
        let manager = TokenManager::builder(provider).storage(Arc::clone(&self.storage));
        manager.clock(self.clock()).build().expect("a manager")
    }

    pub(crate) fn client(&self, manager: &TokenManager) -> HttpClient {
        HttpClient::builder(self.server.base_url())
            .with_token_auth(TokenAuth::new(manager.clone()))
            // Over HTTP/2 a crowd shares a connection; with one each it would need thousands of sockets.
            .with_http(|http| http.no_proxy().http2_prior_knowledge())
            .build()
            .expect("a client")
    }
}

/// The user's token as its endpoint wants it.
pub(crate) fn bearer(context: &FetchContext) -> Option<String> {
    context.get_token("user_token").map(TokenData::authorization_header)
}

pub(crate) fn provider(pipeline: &TokenFetchPipeline) -> PipelineTokenProvider {
    PipelineTokenProvider::new(pipeline.clone(), PREFIX)
}

/// Returns when this holds.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LIMIT, waiting).await.expect("it comes about");
}
