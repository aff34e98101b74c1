//! The origins that credentials go to.

use forge_tests::{Origin, RawReply};
use requestforge::{StaticTokenSource, TokenAuth, TokenData};

use crate::mount::{Mount, Request};

on_each_mount! {
    inv13_credentials_go_to_the_named_origin_only,
    inv13_a_redirect_carries_no_credentials_elsewhere,
    inv13_what_the_caller_sends_elsewhere_is_the_callers,
}

/// Each way to carry a token.
fn ways() -> Vec<TokenAuth> {
    let auth = TokenAuth::new(StaticTokenSource::new(TokenData::new("canary")).expect("a token"));
    vec![auth.clone(), auth.auth_header_name("X-Whatever").auth_header_prefix("")]
}

async fn inv13_credentials_go_to_the_named_origin_only<M: Mount>() {
    let home = server().await;
    // Another port, and another host.
    let foreign = [server().await, other_host().await];
    for auth in ways() {
        let mount = M::new(auth, &home.url()).await;
        home.clear();
        let to_home = Request::get(format!("{}/x?to={}", home.url(), foreign[0].url()));
        mount.send(to_home).await.expect("an answer");
        assert!(home.requests().pop().expect("a request").contains("canary"));
        for server in &foreign {
            mount
                .send(Request::get(format!("{}/x?at={}", server.url(), home.url())))
                .await
                .expect("an answer");
            let request = server.requests().pop().expect("a request");
            assert!(!request.contains("canary"), "{request:?}");
        }
    }
}

async fn inv13_a_redirect_carries_no_credentials_elsewhere<M: Mount>() {
    for auth in ways() {
        for foreign in [server().await, other_host().await] {
            let to = format!("{}/x", foreign.url());
            let home = Origin::start(move |_| RawReply::redirect(302, &to)).await.expect("a server");
            let mount = M::new(auth.clone(), &home.url()).await;
            let answer = mount.send(Request::get(home.url())).await.expect("an answer");
            assert!(home.requests().pop().expect("a request").contains("canary"));
            assert!(answer.status.is_redirection() || foreign.requests().len() == 1);
            assert!(foreign.requests().iter().all(|request| !request.contains("canary")));
        }
    }
}

async fn inv13_what_the_caller_sends_elsewhere_is_the_callers<M: Mount>() {
    let (home, foreign) = (server().await, server().await);
    for auth in ways() {
        let mount = M::new(auth, &home.url()).await;
        let request = Request::get(foreign.url()).header("authorization", "Bearer own");
        mount.send(request).await.expect("an answer");
        let request = foreign.requests().pop().expect("a request");
        assert_eq!(request.header("authorization").as_deref(), Some("Bearer own"));
        assert!(!request.contains("canary"));
    }
}

async fn server() -> Origin {
    Origin::start(|_| RawReply::ok("")).await.expect("a server")
}

async fn other_host() -> Origin {
    Origin::start_at([127, 0, 0, 2].into(), |_| RawReply::ok("")).await.expect("a server")
}
