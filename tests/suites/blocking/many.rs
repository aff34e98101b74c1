//! Many requests at once, on one thread.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use forge_tests::RawReply;
use requestforge::blocking::{HttpClient, RequestBuilder};

use crate::world::{World, origin, runtime};

fn numbered(client: &HttpClient, count: usize) -> impl Iterator<Item = RequestBuilder> + use<> {
    let client = client.clone();
    (0..count).map(move |id| client.get("/users").header("x-request-id", id.to_string()))
}

/// The API answers the first five requests only when all of them have come: a client that sends one after the
/// other would wait for ever.
#[test]
fn requests_run_together_and_each_result_has_the_index_of_its_request() {
    let world = World::new();
    // The API holds back requests without a token.
    let client = HttpClient::builder(world.api.base_url()).build().expect("a client");
    (0..5).for_each(|id: usize| world.api.hold(&id.to_string()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let progress = Arc::clone(&seen);
    let mut indexes: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            world.block_on(world.api.until_waiting(5));
            world.api.release_all();
        });
        let results = client.request_many(numbered(&client, 20));
        let results = results.on_progress(move |answered| progress.lock().expect("no panic").push(answered));
        results.map(|(index, result)| (index, result.expect("an answer").status_code().as_u16())).collect()
    });
    indexes.sort_unstable();
    assert_eq!(indexes, (0..20).map(|index| (index, 401)).collect::<Vec<_>>());
    assert_eq!(*seen.lock().expect("no panic"), (1..=20).collect::<Vec<_>>());
}

#[test]
fn max_workers_bounds_the_requests_taken_and_fail_fast_ends_with_the_first_error() {
    let (server, _runtime) = origin(|_| RawReply::ok(""));
    let client = HttpClient::builder(server.url()).build().expect("a client");
    let taken = AtomicUsize::new(0);
    let requests = || {
        (0..10).map(|id: usize| {
            taken.fetch_add(1, Ordering::SeqCst);
            let request = client.get("/");
            if id == 2 { request.header("x-bad", "a\nb") } else { request }
        })
    };
    let results: Vec<_> = client.request_many(requests()).max_workers(1).fail_fast(true).collect();
    let [(0, Ok(_)), (1, Ok(_)), (2, Err(error))] = &results[..] else { panic!("{results:?}") };
    assert!(error.is_builder());
    assert_eq!((taken.load(Ordering::SeqCst), server.requests().len()), (3, 2));
    let results: Vec<_> = client.request_many(requests()).collect();
    assert_eq!(results.iter().filter(|(_, result)| result.is_err()).count(), 1);
    assert_eq!(results.len(), 10);
}

#[test]
fn within_a_runtime_each_result_is_an_error_and_nothing_is_sent() {
    let world = World::new();
    let client = world.client.clone();
    for (fail_fast, expected) in [(false, vec![0, 1, 2]), (true, vec![0])] {
        let requests = numbered(&client, 3);
        let results: Vec<_> =
            runtime().block_on(async { client.request_many(requests).fail_fast(fail_fast).collect() });
        let indexes: Vec<_> = results.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, expected);
        for (_, result) in results {
            let error = result.expect_err("within a runtime");
            assert!(error.is_builder() && error.to_string().contains("use the async client"), "{error}");
        }
    }
    assert_eq!((world.api.requests(), world.server.token_calls()), (0, 0));
}

#[test]
fn an_error_of_a_status_has_the_body_that_the_caller_asked_for() {
    let (server, _runtime) = origin(|_| RawReply::status(409).with_body("taken"));
    let client = HttpClient::builder(server.url()).build().expect("a client");
    let get = || client.get("/").send().expect("an answer");
    assert_eq!(get().error_for_status_with_body().expect_err("a conflict").body(), Some(&b"taken"[..]));
    assert_eq!(get().error_for_status().expect_err("a conflict").body(), None);
}
