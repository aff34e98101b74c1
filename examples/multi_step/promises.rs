//! Checks the promises of this library against the server's counts.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_tests::{MultiStepServer, Step};
use requestforge::{HttpClient, HttpClientError, HttpResponse, TokenAuth, TokenManager};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::chain::Chain;
use crate::steps;
use crate::timeline::{Timeline, say};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CALL: Duration = Duration::from_millis(100);

/// Returns whether all promises were kept.
pub(super) async fn run(requests: usize) -> Outcome<bool> {
    say("Real requests over real sockets, on this machine only. It is the server that counts.\n");
    let mut stage = Stage::set().await?;
    stage.cold_start(requests).await?;
    stage.revoked_session().await?;
    stage.revoked_app_token().await?;
    stage.wrong_password().await?;
    stage.two_first_steps().await?;
    Ok(stage.timeline.end())
}

struct Stage {
    timeline: Timeline,
    server: MultiStepServer,
    client: HttpClient,
}

fn client_of(server: &MultiStepServer, manager: TokenManager) -> Result<HttpClient, HttpClientError> {
    HttpClient::builder(server.base_url())
        .with_token_auth(TokenAuth::new(manager).auth_header_name("X-Session-Id").auth_header_prefix(""))
        // Requests to the loopback address must not go through the proxy that HTTP_PROXY may name. Over
        // HTTP/2 many requests share a connection. With a connection each they would need thousands of
        // sockets.
        .with_http(|http| http.no_proxy().http2_prior_knowledge())
        .build()
}

impl Stage {
    async fn set() -> Outcome<Self> {
        let timeline = Timeline::start();
        let server = MultiStepServer::start().await?;
        for step in Step::ALL {
            server.set_delay(step, CALL);
            timeline.tell(format!("{:12}  {}{}", step.name(), server.base_url(), step.path()));
        }
        timeline.tell(format!("each of them takes {} ms", CALL.as_millis()));
        let client = client_of(&server, steps::sessions(&server, server.password())?)?;
        Ok(Self { timeline, server, client })
    }

    async fn cold_start(&mut self, requests: usize) -> Outcome<()> {
        self.timeline.chapter("Cold start: many requests at once, and no token yet");
        let before = self.server.all_calls();
        let start = Arc::new(Barrier::new(requests + 1));
        let mut crowd = JoinSet::new();
        for number in 0..requests {
            let (request, start) = (self.client.get(format!("/orders/{number}")), Arc::clone(&start));
            crowd.spawn(async move {
                start.wait().await;
                request.send().await?.error_for_status()?.text().await.map(drop)
            });
        }
        start.wait().await;
        self.timeline.tell(format!("requests begun: {requests}"));
        let outcomes = crowd.join_all().await;
        if let Some(error) = outcomes.iter().find_map(|outcome| outcome.as_ref().err()) {
            self.timeline.tell(format!("one that has no answer: {}", Chain(error)));
        }
        let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        self.promise_calls(before, [1, 0, 1, 1]);
        let accepted = self.server.accepted();
        self.timeline.promise(
            (answered, accepted, self.server.rejected()) == (requests, requests, 0),
            format!("every request answered with success (accepted by the API: {accepted})"),
        );
        Ok(())
    }

    async fn revoked_session(&mut self) -> Outcome<()> {
        self.timeline.chapter("A session ends: the API rejects it");
        let before = self.server.all_calls();
        self.server.revoke(Step::Session);
        self.one_request().await;
        self.promise_calls(before, [0, 0, 0, 1]);
        Ok(())
    }

    async fn revoked_app_token(&mut self) -> Outcome<()> {
        self.timeline.chapter("Everything is revoked: a new session is refused, and a new user token, too");
        let before = self.server.all_calls();
        for step in Step::ALL {
            self.server.revoke(step);
        }
        self.one_request().await;
        let refused = (self.server.refused(Step::User), self.server.refused(Step::Session));
        self.timeline.promise(
            refused == (1, 1),
            format!("each step refused a revoked token once (counted: {}, {})", refused.0, refused.1),
        );
        self.promise_calls(before, [1, 0, 2, 2]);
        Ok(())
    }

    async fn wrong_password(&mut self) -> Outcome<()> {
        self.timeline.chapter("Wrong password: no session, so no request");
        let requests = self.server.requests();
        let manager = steps::sessions(&self.server, "not-the-password")?;
        let error = client_of(&self.server, manager)?.get("/orders").send().await.err();
        let text = error.as_ref().map(|error| Chain(error).to_string()).unwrap_or_default();
        self.timeline.tell(format!("error: {text}"));
        self.timeline.promise(
            text.contains("user_token") && !text.contains("not-the-password"),
            "the error names the step, and shows no password",
        );
        let requests = self.server.requests() - requests;
        self.timeline.promise(requests == 0, format!("the API got no request (counted: {requests})"));
        Ok(())
    }

    async fn two_first_steps(&mut self) -> Outcome<()> {
        self.timeline.chapter("Two steps that do not need each other, and one that needs both");
        self.server.want_device_token(true);
        let pipeline = steps::users_of_a_device(&self.server)?;
        let begun = Instant::now();
        pipeline.execute(false).await?;
        let took = begun.elapsed().as_millis();
        self.timeline.tell(format!("three calls of {} ms each took {took} ms", CALL.as_millis()));

        // Once more. The server answers neither call before both have arrived.
        let before = self.server.all_calls();
        let first_steps = [Step::App, Step::Device];
        for step in &first_steps {
            self.server.hold(*step);
        }
        let again = tokio::spawn(async move { pipeline.execute(true).await });
        let both = timeout(Duration::from_secs(10), self.server.until_held(first_steps.len())).await;
        for step in &first_steps {
            self.server.release(*step);
        }
        again.await??;
        self.timeline.promise(both.is_ok(), "the server saw both of the first steps under way at once");
        self.promise_calls(before, [1, 1, 1, 0]);
        Ok(())
    }

    async fn one_request(&mut self) {
        let begun = Instant::now();
        let answer = self.client.get("/orders").send().await.and_then(HttpResponse::error_for_status);
        self.timeline.tell(format!("one request, which took {} ms", begun.elapsed().as_millis()));
        if let Err(error) = &answer {
            self.timeline.tell(format!("error: {}", Chain(error)));
        }
        self.timeline.promise(answer.is_ok(), "the request is answered with success all the same");
    }

    fn promise_calls(&mut self, before: [usize; 4], expected: [usize; 4]) {
        let mut counted = self.server.all_calls();
        let mut shown = Vec::new();
        for ((step, counted), before) in Step::ALL.iter().zip(&mut counted).zip(before) {
            *counted -= before;
            if *counted > 0 {
                shown.push(format!("{} of {}", counted, step.name()));
            }
        }
        let shown = shown.join(", ");
        self.timeline.promise(counted == expected, format!("no call more than it takes (counted: {shown})"));
    }
}
