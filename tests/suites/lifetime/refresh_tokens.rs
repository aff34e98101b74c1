//! Refresh tokens that stay, and refresh tokens that rotate.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_tests::AuthorizationServer;
use requestforge::TokenData;
use requestforge::testing::ManualClock;
use requestforge::token::TokenManagerBuilder;

use crate::world::{at_hand, builder, name};

#[tokio::test]
async fn inv09_a_refresh_answer_without_a_refresh_token_keeps_the_old_one() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    let clock = Arc::new(ManualClock::new());
    let persisted = PersistedTokens::default();
    let manager = persisted.by(&builder_of(&server, &clock)).build().expect("a manager");
    let first = manager.get_token().await.expect("a token");
    let refresh_token = first.token().refresh_token().expect("a refresh token").to_owned();
    assert_eq!(persisted.seen(), [name(&first)]);

    server.set_refresh_tokens(false);
    for refreshes in 1..=3 {
        clock.advance(manager.status().usable_for.expect("it expires"));
        let token = manager.get_token().await.expect("a token");
        assert_eq!(token.token().refresh_token(), Some(refresh_token.as_str()));
        assert_eq!(server.calls_by_grant("refresh_token"), refreshes);
    }
    assert_eq!(server.calls_by_grant("client_credentials"), 1);
    assert_eq!(persisted.seen().len(), 1, "nothing rotated");
}

/// The tokens that the hook got.
#[derive(Clone, Default)]
struct PersistedTokens(Arc<Mutex<Vec<String>>>);

impl PersistedTokens {
    fn seen(&self) -> Vec<String> {
        self.0.lock().expect("unpoisoned").clone()
    }

    fn by(&self, builder: &dyn Fn() -> TokenManagerBuilder) -> TokenManagerBuilder {
        let seen = Arc::clone(&self.0);
        builder().on_refresh_token(move |token: TokenData| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(token.refresh_token().is_some());
                seen.lock().expect("unpoisoned").push(token.access_token().to_owned());
            }
        })
    }
}

fn builder_of<'a>(
    server: &'a AuthorizationServer,
    clock: &'a Arc<ManualClock>,
) -> impl Fn() -> TokenManagerBuilder + 'a {
    move || builder(server, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv09_a_rotated_refresh_token_is_persisted_before_anybody_has_what_came_with_it() {
    let server = AuthorizationServer::start().await.expect("a server");
    server.set_refresh_tokens(true);
    let clock = Arc::new(ManualClock::new());
    let persisted = PersistedTokens::default();
    let manager = persisted.by(&builder_of(&server, &clock)).build().expect("a manager");
    manager.get_token().await.expect("a token");
    for round in 1..=5 {
        // A waiting caller causes the renewal in one round, and the background causes it in the next.
        let left = manager.status();
        let is_background = round % 2 == 0;
        let left = if is_background { left.next_renewal } else { left.usable_for };
        // A look at the token may start its renewal.
        let issued = server.tokens_issued();
        clock.advance(left.expect("it expires"));
        let old = manager.status().has_token.then(|| at_hand(&manager)).flatten();
        loop {
            // The manager has persisted the token before it hands the token out.
            let token = name(&manager.get_token().await.expect("a token"));
            assert!(persisted.seen().contains(&token), "handed out before it was persisted");
            if old.as_ref() != Some(&token) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!((server.tokens_issued(), persisted.seen().len()), (issued + 1, round + 1));
    }
    assert_eq!(server.calls_by_grant("client_credentials"), 1);
    assert_eq!(server.calls_by_grant("refresh_token"), 5);
}
