//! The code that your service would contain.

use forge_tests::MultiStepServer;
use requestforge::pipeline::{HttpTokenFetcherBuilder, InBody};
use requestforge::{
    BodyTokenFetcher, ConfigError, ContentType, HeaderTokenFetcher, PipelineTokenProvider, TokenData,
    TokenFetchPipeline, TokenManager,
};

/// The context of each step has the tokens of the steps that it depends on. Requests carry the token of the
/// last step.
pub(super) fn sessions(server: &MultiStepServer, password: &str) -> Result<TokenManager, ConfigError> {
    let session = HeaderTokenFetcher::builder("session", server.base_url(), "/v1/session")
        .token_header("X-Session-Id")
        .depends_on(["user_token"])
        .request_headers_with(|context| {
            [("Authorization", context.get_token("user_token").map(TokenData::authorization_header))]
        })
        .build()?;
    let pipeline = TokenFetchPipeline::builder()
        .step(app_token(server).build()?)
        .step(user_token(server, password).build()?)
        .step(session)
        .cache_key_prefix("example")
        .build()?;
    // After a rejection the pipeline renews the session alone, and earlier tokens only if necessary.
    let provider = PipelineTokenProvider::new(pipeline, "example-api").refresh_from_step("session")?;
    Ok(TokenManager::new(provider))
}

/// Two independent steps, and one that needs both.
pub(super) fn users_of_a_device(server: &MultiStepServer) -> Result<TokenFetchPipeline, ConfigError> {
    let device_token = BodyTokenFetcher::builder("device_token", server.base_url(), "/v1/device/token")
        .request_data([("device_id", server.device_id()), ("device_key", server.device_key())])
        .build()?;
    let user_token = user_token(server, server.password())
        .depends_on(["device_token"])
        .request_headers_with(|context| [("X-Device-Token", context.get_token_value("device_token"))])
        .build()?;
    TokenFetchPipeline::builder().steps([app_token(server).build()?, device_token, user_token]).build()
}

fn app_token(server: &MultiStepServer) -> HttpTokenFetcherBuilder<InBody> {
    BodyTokenFetcher::builder("app_token", server.base_url(), "/v1/app/token").request_data([
        ("grant_type", "client_credentials"),
        ("client_id", server.client_id()),
        ("client_secret", server.client_secret()),
    ])
}

fn user_token(server: &MultiStepServer, password: &str) -> HttpTokenFetcherBuilder<InBody> {
    BodyTokenFetcher::builder("user_token", server.base_url(), "/v1/user/token")
        .content_type(ContentType::Json)
        .request_data([("username", server.username()), ("password", password)])
        .depends_on(["app_token"])
        .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
}
