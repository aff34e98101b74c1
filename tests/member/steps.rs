//! Tokens of a server of several steps, through a pipeline over the storage of the fleet.

use std::error::Error;
use std::sync::Arc;

use forge_tests::Step;
use forge_tests::fleet::Settings;
use requestforge::token::Clock;
use requestforge::{
    BodyTokenFetcher, ContentType, HeaderTokenFetcher, PipelineTokenProvider, RedisTokenStorage, TokenData,
    TokenFetchPipeline, TokenProvider,
};

/// Makes pipelines.
pub(crate) struct Steps {
    settings: Settings,
    storage: RedisTokenStorage,
    clock: Arc<dyn Clock>,
}

impl Steps {
    pub(crate) fn new(settings: &Settings, storage: &RedisTokenStorage, clock: &Arc<dyn Clock>) -> Self {
        Self { settings: settings.clone(), storage: storage.clone(), clock: Arc::clone(clock) }
    }

    /// The key is the prefix of its steps' keys.
    pub(crate) fn provider(&self, key: &str) -> Result<Arc<dyn TokenProvider>, Box<dyn Error>> {
        let Settings { token_url: url, client_id, client_secret, user, .. } = &self.settings;
        let (username, password) = user.as_ref().ok_or("no user")?;
        let body = |step: Step| {
            let clock = Arc::clone(&self.clock);
            BodyTokenFetcher::builder(step.name(), url, step.path()).clock(clock)
        };
        let app = body(Step::App).request_data([
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", client_secret),
        ]);
        let user = body(Step::User)
            .content_type(ContentType::Json)
            .request_data([("username", username), ("password", password)])
            .depends_on(["app_token"])
            .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))]);
        let session = HeaderTokenFetcher::builder(Step::Session.name(), url, Step::Session.path())
            .clock(Arc::clone(&self.clock))
            .token_header("X-Session-Id")
            .depends_on(["user_token"])
            .request_headers_with(|context| {
                [("Authorization", context.get_token("user_token").map(TokenData::authorization_header))]
            });
        let pipeline = TokenFetchPipeline::builder()
            .step(app.build()?)
            .step(user.build()?)
            .step(session.build()?)
            .storage(self.storage.clone())
            .cache_key_prefix(key)
            .clock(Arc::clone(&self.clock))
            .build()?;
        Ok(Arc::new(PipelineTokenProvider::new(pipeline, "fleet")))
    }
}
