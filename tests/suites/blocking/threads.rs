//! Many threads at once.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use requestforge::{HttpClientError, Logging};

use crate::world::World;

/// Runs this on so many threads at once.
fn at_once<T: Send>(threads: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    let (start, call) = (&start, &call);
    thread::scope(|scope| {
        let one = |number| {
            scope.spawn(move || {
                start.wait();
                call(number)
            })
        };
        let crowd: Vec<_> = (0..threads).map(one).collect();
        crowd.into_iter().map(|one| one.join().expect("no panic")).collect()
    })
}

#[test]
fn inv01_many_threads_join_one_fetch() {
    let world = World::new();
    world.server.set_delay(Duration::from_millis(100));
    let tokens = world.tokens();
    let ids = at_once(50, |number| {
        if number % 2 == 0 {
            let response = world.client.get("/users").send().expect("an answer");
            assert!(response.is_success(), "{response:?}");
        }
        tokens.get_token().expect("a token").id()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!((world.server.token_calls(), world.api.accepted()), (1, 25));
}

#[test]
fn inv11_many_threads_rejected_with_one_token_renew_it_once() {
    let world = World::new();
    world.tokens().get_token().expect("a token");
    world.server.revoke_all();
    let results: Vec<Result<u16, HttpClientError>> = at_once(50, |number| {
        let request = world.client.get("/users").header("x-request-id", number.to_string());
        request.send().map(|response| response.status_code().as_u16())
    });
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|status| *status == 200)), "{results:?}");
    assert_eq!(world.server.token_calls(), 2);
    assert!(world.api.max_sends_per_request() <= 2);
}

#[test]
fn tokens_are_renewed_invalidated_and_replaced_when_rejected() {
    let world = World::new();
    let tokens = world.tokens();
    assert!(tokens.source().cached().is_none());
    let first = tokens.get_token().expect("a token");
    assert_eq!(tokens.get_token().expect("a token").id(), first.id());
    let second = tokens.force_refresh().expect("a token");
    assert!(second.id() != first.id());
    tokens.invalidate_token().expect("it is told");
    let third = tokens.get_token().expect("a token");
    assert!(third.id() != second.id());
    third.mark_accepted();
    let fourth = tokens.refresh_rejected(&third).expect("a renewal").expect("another token");
    assert!(fourth.id() != third.id());
    assert_eq!(world.server.token_calls(), 4);
}

#[test]
fn a_hook_that_panics_ends_its_own_call_only() {
    let world = World::new();
    let client = requestforge::blocking::HttpClient::builder(world.api.base_url())
        .with_logging(Logging::new())
        .with_token_auth(world.manager.clone())
        .with_request_hook(|request: &mut requestforge::hooks::OutgoingRequest<'_>| {
            assert!(request.url().path() != "/bad", "a hook's panic");
        })
        .build()
        .expect("a client");
    let client = Arc::new(client);
    let bad = Arc::clone(&client);
    assert!(thread::spawn(move || bad.get("/bad").send().map(drop)).join().is_err(), "it is the caller's");
    assert!(client.get("/good").send().expect("an answer").is_success());
}
