use forge_tests::{Origin, RawReply};
use requestforge::{
    BodyTokenFetcher, InMemoryTokenStorage, PipelineTokenProvider, TokenFetchPipeline, TokenManager,
};

use crate::extremes::{EXTREMES, LEAST, used};
use crate::setting::Setting;

#[tokio::test]
async fn every_duration_of_a_step_takes_zero_the_least_and_the_most() {
    let server = Origin::start(|_| RawReply::ok(r#"{"access_token":"t","expires_in":3600}"#));
    let server = server.await.expect("a server");
    for name in ["ttl", "timeout"] {
        for value in EXTREMES {
            let case = format!("{name}: {value:?}");
            let builder = BodyTokenFetcher::builder("only", server.url(), "/token");
            let built = if name == "ttl" { builder.ttl(value) } else { builder.timeout(value) }.build();
            let Some(step) = Setting::Positive(name).built(&case, value, built) else { continue };
            let pipeline = TokenFetchPipeline::builder().step(step).storage(InMemoryTokenStorage::new());
            let pipeline = pipeline.build().expect("a pipeline");
            let executed = used(&case, pipeline.execute(true)).await;
            assert!(executed.is_ok() || value == LEAST, "{case}: {executed:?}");
            let manager = TokenManager::new(PipelineTokenProvider::new(pipeline, "service"));
            let token = used(&case, manager.get_token()).await;
            assert!(token.is_ok() || value == LEAST, "{case}: {token:?}");
        }
    }
}
