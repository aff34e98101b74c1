//! Threads that must not wait, since they have a runtime's other tasks to do.

use std::io::Read;
use std::thread;

use requestforge::blocking::{HttpClient, HttpResponse, Tokens};
use requestforge::{AuthenticationErrorKind, HttpClientError, StaticTokenSource, TokenData, TokenManager};

use crate::world::{World, runtime};

/// The objects that a thread outside of all runtimes has made.
struct Made {
    client: HttpClient,
    response: HttpResponse,
    another: HttpResponse,
    tokens: Tokens<TokenManager>,
}

impl Made {
    fn by(world: &World) -> Self {
        let get = || world.client.get("/users").send().expect("an answer");
        Self { client: world.client.clone(), response: get(), another: get(), tokens: world.tokens() }
    }
}

/// Builds, calls, reads and drops, on a thread that a runtime has entered.
fn all_is_refused(made: Made) {
    let is_told = |error: &HttpClientError| {
        let field = error.config_error().expect("a setting").field();
        assert!(error.is_builder() && field == "blocking", "{error:?}");
        assert!(error.to_string().contains("use the async client"), "{error}");
    };
    is_told(&HttpClient::builder("http://localhost").build().expect_err("within a runtime"));
    is_told(&made.client.get("/users").send().expect_err("within a runtime"));
    is_told(&made.response.text().expect_err("within a runtime"));
    let error = made.another.into_reader().read(&mut [0]).expect_err("within a runtime");
    is_told(error.get_ref().and_then(|error| error.downcast_ref()).expect("ours"));

    let rejected = made.tokens.source().cached().expect("a token");
    let errors = [
        made.tokens.get_token().err(),
        made.tokens.force_refresh().err(),
        made.tokens.invalidate_token().err(),
        made.tokens.refresh_rejected(&rejected).err(),
    ];
    for error in errors {
        let error = error.expect("within a runtime");
        assert_eq!(error.kind(), &AuthenticationErrorKind::Configuration);
        assert!(error.to_string().contains("use the async client"), "{error}");
    }
    // This thread drops the rest of it, and an answer that it has not read.
}

#[test]
fn within_a_runtime_all_that_waits_is_an_error_and_dropping_is_fine() {
    let world = World::new();
    world.tokens().get_token().expect("a token");
    let before = |made: &Made| (made.client.clone(), world.api.requests(), world.server.token_calls());

    let made = Made::by(&world);
    let counted = before(&made);
    let unread = world.client.get("/users").send().expect("an answer");
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(async move {
        drop(unread);
        all_is_refused(made);
    });
    assert_eq!((world.api.requests(), world.server.token_calls()), (counted.1 + 1, counted.2));

    for spawn in [
        |made| tokio::spawn(async { all_is_refused(made) }),
        |made| tokio::task::spawn_blocking(|| all_is_refused(made)),
    ] {
        let made = Made::by(&world);
        let counted = before(&made);
        runtime().block_on(async { spawn(made).await }).expect("no panic");
        assert_eq!((world.api.requests(), world.server.token_calls()), (counted.1, counted.2));
    }
    assert!(world.client.get("/users").send().expect("an answer").is_success(), "nothing is broken");
}

#[test]
fn a_thread_of_ones_own_may_wait_even_where_the_one_that_waits_for_it_may_not() {
    let world = World::new();
    let client = world.client.clone();
    let status = runtime().block_on(async {
        let waits = move || thread::scope(|scope| scope.spawn(|| client.get("/users").send()).join());
        tokio::task::spawn_blocking(waits).await.expect("no panic").expect("no panic")
    });
    assert!(status.expect("an answer").is_success());
}

/// Hooks, strategies and sources run within a call, which has entered our own runtime.
#[test]
fn a_token_source_that_uses_the_blocking_client_is_told_so() {
    let world = World::new();
    let other = Tokens::new(StaticTokenSource::new(TokenData::new("abc")).expect("it fits"));
    let source = requestforge::token_source_fn(move || {
        let other = other.clone();
        async move { other.get_token().map(|token| token.token().clone()) }
    });
    let client = HttpClient::builder(world.api.base_url()).with_token_auth(source).build().expect("a client");
    let error = client.get("/users").send().expect_err("within a runtime");
    let error = error.authentication_error().expect("no token");
    assert!(error.to_string().contains("use the async client"), "{error}");
    assert_eq!(world.api.requests(), 0);
}
