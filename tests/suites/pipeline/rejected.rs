//! Revoked tokens, at the API and at the endpoints of steps.

use forge_tests::{StatusCode, Step};
use requestforge::{HttpClient, TokenManager};
use tokio::task::JoinSet;

use crate::world::{World, provider};

over_each_storage![
    inv11_a_rejected_token_is_renewed_from_the_step_that_was_named,
    inv11_without_a_named_step_everything_is_fetched_anew,
    inv11_a_revoked_app_token_heals_within_one_request,
    inv11_everything_revoked_heals_within_one_request_of_each_of_a_hundred,
    a_step_that_refuses_whatever_it_is_given_is_not_asked_for_ever,
];

fn world_client(world: &World, refresh_from_step: Option<&str>) -> (HttpClient, TokenManager) {
    let pipeline = world.three_steps().build().expect("a pipeline");
    let mut provider = provider(&pipeline);
    if let Some(step) = refresh_from_step {
        provider = provider.refresh_from_step(step).expect("a step");
    }
    let manager = world.manager(provider);
    (world.client(&manager), manager)
}

async fn get(client: &HttpClient) -> StatusCode {
    client.get("/orders").send().await.expect("an answer").status_code()
}

async fn inv11_a_rejected_token_is_renewed_from_the_step_that_was_named(world: World) {
    for (step, calls) in
        [("session", [1, 0, 1, 2]), ("user_token", [1, 0, 2, 3]), ("app_token", [2, 0, 3, 4])]
    {
        // Another session each time, over the tokens that the storage has by then.
        let (client, _) = world_client(&world, Some(step));
        assert_eq!(get(&client).await, StatusCode::OK);
        world.server.revoke(Step::Session);
        assert_eq!(get(&client).await, StatusCode::OK);
        assert_eq!(world.server.all_calls(), calls, "from {step}");
    }
    assert_eq!((world.server.accepted(), world.server.rejected()), (6, 3));
}

async fn inv11_without_a_named_step_everything_is_fetched_anew(world: World) {
    let (client, _) = world_client(&world, None);
    assert_eq!(get(&client).await, StatusCode::OK);
    world.server.revoke(Step::Session);
    assert_eq!(get(&client).await, StatusCode::OK);
    assert_eq!(world.server.all_calls(), [2, 0, 2, 2]);
}

/// The API rejects the session, the endpoint of the session rejects the user token, and the endpoint of the user token
/// rejects the app token.
async fn inv11_a_revoked_app_token_heals_within_one_request(world: World) {
    let (client, _) = world_client(&world, Some("session"));
    assert_eq!(get(&client).await, StatusCode::OK);
    for step in [Step::App, Step::User, Step::Session] {
        world.server.revoke(step);
    }
    assert_eq!(get(&client).await, StatusCode::OK);
    // The session and the user token each take a refused call and a good one, the app token one call.
    assert_eq!(world.server.all_calls(), [2, 0, 3, 3]);
    assert_eq!((world.server.refused(Step::User), world.server.refused(Step::Session)), (1, 1));
    assert_eq!((world.server.accepted(), world.server.rejected()), (2, 1));

    // The pipeline renews the revoked tokens only.
    world.server.revoke(Step::User);
    world.server.revoke(Step::Session);
    assert_eq!(get(&client).await, StatusCode::OK);
    assert_eq!(world.server.all_calls(), [2, 0, 4, 5]);
}

async fn inv11_everything_revoked_heals_within_one_request_of_each_of_a_hundred(world: World) {
    const REQUESTS: usize = 100;
    let (client, _) = world_client(&world, Some("user_token"));
    assert_eq!(get(&client).await, StatusCode::OK);
    for step in [Step::App, Step::User, Step::Session] {
        world.server.revoke(step);
    }
    let mut crowd = JoinSet::new();
    for _ in 0..REQUESTS {
        let client = client.clone();
        crowd.spawn(async move { get(&client).await });
    }
    assert!(crowd.join_all().await.into_iter().all(|status| status == StatusCode::OK));
    assert_eq!(world.server.all_calls(), [2, 0, 3, 2]);
    assert_eq!(world.server.accepted(), 1 + REQUESTS);
}

/// The endpoint of the user token always rejects the app token. The pipeline renews that once, and then reports the
/// error.
async fn a_step_that_refuses_whatever_it_is_given_is_not_asked_for_ever(world: World) {
    world.server.set_failing(Step::User, Some(StatusCode::UNAUTHORIZED));
    let (client, manager) = world_client(&world, None);
    for _ in 0..20 {
        let error = client.get("/orders").send().await.expect_err("no user token");
        let error = error.authentication_error().expect("no token could be had");
        assert_eq!(error.status(), Some(StatusCode::UNAUTHORIZED));
        assert!(error.to_string().contains("`user_token`"), "{error}");
    }
    assert_eq!(world.server.all_calls(), [2, 0, 2, 0]);
    assert!(manager.status().cool_down.is_some());
    assert_eq!(world.server.requests(), 0);
}
