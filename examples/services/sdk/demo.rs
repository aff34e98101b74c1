//! Runs the SDK between servers on this machine, and checks their counts.

use std::error::Error;
use std::sync::Arc;

use forge_tests::{Api, AuthorizationServer, StatusCode};
use requestforge::{ClientCredentialsTokenProvider, StaticTokenSource, TokenData, TokenManager};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::timeline::{Timeline, say};
use crate::{Users, UsersError};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CROWD: usize = 100;

/// Returns whether all promises were kept.
pub(super) async fn run() -> Outcome<bool> {
    say("An SDK and the API it is for, on this machine only. It is the servers that count.\n");
    let mut stage = Stage::set().await?;
    stage.cold_start().await;
    stage.revocation().await;
    stage.not_allowed().await;
    stage.a_token_for_ever().await?;
    stage.no_token().await?;
    Ok(stage.timeline.end())
}

struct Stage {
    timeline: Timeline,
    authorization_server: AuthorizationServer,
    api: Api,
    users: Users,
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let timeline = Timeline::start();
        let authorization_server = AuthorizationServer::start().await?;
        let api = Api::start(&authorization_server).await?;
        let users = Users::new(api.base_url(), manager(&authorization_server)?)?;
        timeline.tell(format!("tokens  {}", authorization_server.token_url()));
        timeline.tell(format!("API     {}", api.base_url()));
        Ok(Self { timeline, authorization_server, api, users })
    }

    async fn cold_start(&mut self) {
        self.timeline.chapter("Cold start: many calls at once, and no token yet");
        let answered = self.crowd().await;
        self.timeline.promise(answered == CROWD, format!("every call was answered ({answered})"));
        let calls = self.authorization_server.token_calls();
        self.timeline.promise(calls == 1, format!("one token call (counted: {calls})"));
    }

    async fn revocation(&mut self) {
        self.timeline.chapter("The token is revoked, and many calls are rejected");
        let before = self.authorization_server.token_calls();
        self.authorization_server.revoke_all();
        self.api.clear();
        let answered = self.crowd().await;
        self.timeline.promise(answered == CROWD, format!("every call was answered ({answered})"));
        let calls = self.authorization_server.token_calls() - before;
        self.timeline.promise(calls == 1, format!("one renewal for all of them (counted: {calls})"));
        let (accepted, rejected) = (self.api.accepted(), self.api.rejected());
        self.timeline.tell(format!("the API accepted {accepted} requests and rejected {rejected}"));
        self.timeline.promise(
            accepted == CROWD && rejected <= CROWD,
            "no call was sent more than twice, nor accepted more than once",
        );
    }

    async fn not_allowed(&mut self) {
        self.timeline.chapter("Another token of the same kind would not help: insufficient_scope");
        let before = self.authorization_server.token_calls();
        self.api.clear();
        self.api.always_reject(true);
        self.api.set_challenge(Some("Bearer error=\"insufficient_scope\", scope=\"admin\"".into()));
        let answer = self.users.rename(7, "Ada").await;
        self.api.always_reject(false);
        self.api.set_challenge(Some(Api::CHALLENGE.into()));
        let is_401 = matches!(&answer, Err(UsersError::Http(error)) if error.status() == Some(UNAUTHORIZED));
        self.timeline.promise(is_401, "the caller gets the 401");
        let counted = (self.api.requests(), self.authorization_server.token_calls() - before);
        self.timeline.promise(
            counted == (1, 0),
            format!("sent once, and no token call (counted: {}, {})", counted.0, counted.1),
        );
    }

    async fn a_token_for_ever(&mut self) -> Outcome<()> {
        self.timeline.chapter("The same SDK with a token from elsewhere, which nobody can renew");
        self.api.clear();
        let users =
            Users::new(self.api.base_url(), StaticTokenSource::new(TokenData::new("unknown-token"))?)?;
        let answer = users.user(7).await;
        self.timeline.promise(answer.is_err(), "the caller gets the 401");
        let requests = self.api.requests();
        self.timeline.promise(requests == 1, format!("it was not sent again (counted: {requests})"));
        Ok(())
    }

    async fn no_token(&mut self) -> Outcome<()> {
        self.timeline.chapter("No token can be had");
        self.api.clear();
        self.authorization_server.set_failing(Some(StatusCode::SERVICE_UNAVAILABLE));
        let users = Users::new(self.api.base_url(), manager(&self.authorization_server)?)?;
        let error = users.user(7).await.err();
        let text = error.as_ref().map(|error| Chain(error).to_string()).unwrap_or_default();
        self.timeline.tell(format!("error: {text}"));
        self.timeline.promise(
            matches!(error, Some(UsersError::Authentication(error)) if error.is_transient()),
            "the error says why, and that it may pass",
        );
        let requests = self.api.requests();
        self.timeline.promise(requests == 0, format!("the API got no request (counted: {requests})"));
        Ok(())
    }

    /// Makes many calls at once, and returns how many got a user.
    async fn crowd(&self) -> usize {
        let start = Arc::new(Barrier::new(CROWD));
        let mut crowd = JoinSet::new();
        for id in (0..).take(CROWD) {
            let (users, start) = (self.users.clone(), Arc::clone(&start));
            crowd.spawn(async move {
                start.wait().await;
                users.user(id).await
            });
        }
        let answers = crowd.join_all().await;
        if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            self.timeline.tell(format!("one that has none: {}", Chain(error)));
        }
        answers.iter().filter(|answer| answer.is_ok()).count()
    }
}

const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

fn manager(server: &AuthorizationServer) -> Outcome<TokenManager> {
    let provider = ClientCredentialsTokenProvider::builder(
        server.token_url(),
        server.client_id(),
        server.client_secret(),
    );
    Ok(TokenManager::new(provider.service_name("users-api").build()?))
}
