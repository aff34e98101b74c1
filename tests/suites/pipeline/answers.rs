//! The forms in which steps send data, and the shapes of responses that they read.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use forge_tests::Step;
use requestforge::oauth2::TimeFormat;
use requestforge::pipeline::HttpMethod;
use requestforge::token::Clock;
use requestforge::{BodyTokenFetcher, ContentType, TokenData};
use serde_json::json;

use crate::world::{World, until};

over_each_storage![
    fields_go_in_the_query_in_a_form_or_in_json,
    a_token_may_stand_deep_in_the_answer,
    an_expiry_may_be_a_time,
    a_stated_lifetime_wins_and_counts_from_when_the_call_was_sent,
    a_session_in_a_header_has_the_type_that_was_asked_for,
];

fn now(world: &World) -> DateTime<Utc> {
    let millis = world.clock.now().wall_millis();
    DateTime::from_timestamp_millis(millis).expect("a time")
}

async fn fetched(world: &World, fetcher: BodyTokenFetcher) -> TokenData {
    let pipeline = world.pipeline().step(fetcher).build().expect("a pipeline");
    pipeline.execute(true).await.expect("a token")
}

async fn fields_go_in_the_query_in_a_form_or_in_json(world: World) {
    for device in [
        world.device(),
        world.device().method(HttpMethod::Get),
        world.device().content_type(ContentType::Form),
        world.device().content_type(ContentType::Json),
    ] {
        let token = fetched(&world, device.build().expect("a step")).await;
        assert!(world.server.is_valid(Step::Device, token.access_token()));
    }
    let server = &world.server;
    let credentials = json!({ "device_id": server.device_id(), "device_key": server.device_key() });
    let nested = BodyTokenFetcher::builder("device_token", server.base_url(), Step::Device.path())
        .content_type(ContentType::Json)
        .request_data([("credentials", credentials)]);
    let token = fetched(&world, nested.build().expect("a step")).await;
    assert!(server.is_valid(Step::Device, token.access_token()));
    assert_eq!((server.calls(Step::Device), server.refused(Step::Device)), (5, 0));
}

async fn a_token_may_stand_deep_in_the_answer(world: World) {
    world.server.set_answer(Step::Device, |token| {
        json!({ "data": { "token": token, "kind": "Device", "valid": [{ "for": "90" }] }, "access_token": "no" })
    });
    let device = world.device().token_field("/data/token").token_type_field("/data/kind");
    let device = device.expires_in_field("/data/valid/0/for").build().expect("a step");
    let token = fetched(&world, device).await;
    assert!(world.server.is_valid(Step::Device, token.access_token()));
    assert_eq!(token.token_type(), "Device");
    assert_eq!(token.expires_at(), Some(now(&world) + Duration::from_secs(90)));
}

async fn an_expiry_may_be_a_time(world: World) {
    let in_an_hour = DateTime::from_timestamp(now(&world).timestamp() + 3600, 0).expect("a time");
    let text = in_an_hour.to_rfc3339_opts(SecondsFormat::Secs, false);
    world.server.set_answer(Step::Device, move |token| {
        json!({ "access_token": token, "expires_in": 5, "until": text, "seconds": in_an_hour.timestamp() })
    });
    for (field, format) in [("until", TimeFormat::Rfc3339), ("seconds", TimeFormat::UnixSeconds)] {
        let device = world.device().expires_at_field(field, format).build().expect("a step");
        assert_eq!(fetched(&world, device).await.expires_at(), Some(in_an_hour), "{field}");
    }
}

async fn a_stated_lifetime_wins_and_counts_from_when_the_call_was_sent(world: World) {
    const TTL: Duration = Duration::from_secs(60);
    world.server.hold(Step::Device);
    let pipeline = world.pipeline().step(world.device().ttl(TTL).build().expect("a step"));
    let pipeline = pipeline.build().expect("a pipeline");
    let sent = now(&world);
    let fetching = tokio::spawn(async move { pipeline.execute(false).await.expect("a token") });
    until(|| world.server.calls(Step::Device) == 1).await;
    world.clock.advance(Duration::from_secs(20));
    world.server.release(Step::Device);
    assert_eq!(fetching.await.expect("no panic").expires_at(), Some(sent + TTL));
}

async fn a_session_in_a_header_has_the_type_that_was_asked_for(world: World) {
    for (kind, session) in [("Bearer", world.session()), ("Session", world.session().token_type("Session"))] {
        let pipeline = world
            .pipeline()
            .cache_key_prefix(kind)
            .step(world.app().build().expect("a step"))
            .step(world.user().build().expect("a step"))
            .step(session.build().expect("a step"))
            .build()
            .expect("a pipeline");
        let token = pipeline.execute(false).await.expect("a token");
        assert!(world.server.is_valid(Step::Session, token.access_token()));
        assert_eq!(token.authorization_header(), format!("{kind} {}", token.access_token()));
    }
}
