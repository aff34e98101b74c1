//! Servers close idle connections, often in the moment in which the next call comes.

use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthenticationErrorKind, TokenProvider};

use crate::server::{Server, Treatment, cut};
use crate::{provider, refreshable};

const TASKS: usize = 20;
const CALLS: usize = 25;

/// All calls of all tasks must succeed.
async fn crowd(server: &Server) {
    let provider = Arc::new(provider(server));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..TASKS {
        let provider = Arc::clone(&provider);
        tasks.spawn(async move {
            for _ in 0..CALLS {
                provider.fetch_token().await.expect("a token");
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.expect("no call fails");
    }
}

fn one_answer_each(number: usize) -> Treatment {
    if number == 0 { Treatment::Answer } else { cut() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv24_a_server_that_closes_at_the_second_request_fails_no_call() {
    let server = Server::start(|number, _| one_answer_each(number)).await;
    crowd(&server).await;
    assert!(server.cut() > 0, "no connection was kept");
    assert_eq!(server.requests(), TASKS * CALLS + server.cut(), "one more call for each that was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv24_a_server_that_closes_idle_connections_soon_fails_no_call() {
    let idle = Duration::from_millis(5);
    let server = Server::closing_idle_after(idle, |_, _| Treatment::Answer).await;
    let provider = provider(&server);
    for _ in 0..200 {
        provider.fetch_token().await.expect("a token");
        tokio::time::sleep(idle).await;
    }
    crowd(&server).await;
}

#[tokio::test]
async fn inv24_a_refresh_uses_a_new_connection_and_is_sent_once() {
    let server = Server::start(|number, _| one_answer_each(number)).await;
    let provider = provider(&server);
    for call in 1..=10 {
        provider.fetch_token().await.expect("a token");
        provider.refresh_token(&refreshable()).await.expect("a token");
        assert_eq!(server.refreshes(), call);
    }
    assert!(server.cut() > 0, "full grants use kept connections");
    assert_eq!(server.requests(), 20 + server.cut());
}

#[tokio::test]
async fn inv24_a_refresh_that_is_cut_is_not_repeated() {
    let server = Server::start(|_, _| cut()).await;
    let error = provider(&server).refresh_token(&refreshable()).await.expect_err("it is cut");
    assert_eq!((server.requests(), server.refreshes()), (1, 1));
    assert!(error.is_unanswered() && !error.is_unsent() && error.is_transient(), "{error:?}");
    assert_eq!(*error.kind(), AuthenticationErrorKind::Connect);
    assert!(error.to_string().contains("closed the connection without a response"), "{error}");
}

#[tokio::test]
async fn inv24_without_a_connection_that_closes_calls_share_connections() {
    let server = Server::start(|_, _| Treatment::Answer).await;
    let provider = provider(&server);
    for _ in 0..10 {
        provider.fetch_token().await.expect("a token");
    }
    // A call may come before the connection of the last one is back.
    assert!(server.connections() < 10, "{} connections", server.connections());
    assert_eq!(server.requests(), 10);
}
