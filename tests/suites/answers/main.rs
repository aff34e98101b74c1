//! Malformed and hostile answers of a token endpoint, and their results. One table; each case runs over a
//! real socket and through a manager.

#![allow(clippy::expect_used)]

mod cases;
mod gzip;
mod wire;

use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forge_tests::{Origin, RawReply};
use requestforge::reqwest::ClientBuilder;
use requestforge::testing::ManualClock;
use requestforge::token::Clock;
use requestforge::{
    AuthenticationError, AuthenticationErrorKind, ClientCredentialsTokenProvider, Credential, TokenManager,
};

use cases::{AcceptedToken, Answer, Case, ExpectedError, ExpectedOutcome, GOOD, Http};
use wire::Wire;

/// Longer than any cool-down after a first failure.
const PAST_COOL_DOWN: Duration = Duration::from_secs(61);

/// The test's own patience with a case.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most that a client may take of an endless answer: the limit, and the buffers of two sockets.
const MAX_TAKEN: usize = 32 * 1024 * 1024;

const GOOD_ANSWER: &str = r#"{"access_token":"canary-of-the-good-answer","expires_in":60}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inv14_every_answer_becomes_a_token_or_a_clear_error_and_never_more() {
    let elsewhere = Origin::start(|_| RawReply::ok(GOOD_ANSWER)).await.expect("a server");
    let mut running = Vec::new();
    for case in cases::all(&elsewhere) {
        let name = case.name;
        running.push((name, tokio::spawn(tokio::time::timeout(PATIENCE, play(case)))));
    }
    let count = running.len();
    let mut failed = Vec::new();
    for (name, case) in running {
        match case.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push(format!("{name}: took longer than {PATIENCE:?}")),
            Err(_) => failed.push(format!("{name}: see the panic above")),
        }
    }
    assert!(failed.is_empty(), "{} of {count} cases failed: {failed:#?}", failed.len());
    assert!(elsewhere.requests().is_empty(), "the target of the redirect must see nothing");
}

/// The server that answers a case.
enum Server {
    Origin(Origin),
    Wire(Wire),
}

impl Server {
    async fn start(answer: Answer) -> Self {
        match answer {
            Answer::Reply(reply) => {
                Self::Origin(Origin::start(move |_| reply.clone()).await.expect("a server"))
            }
            Answer::Script(script) => Self::Wire(Wire::start(script, GOOD_ANSWER).await),
        }
    }

    fn token_url(&self) -> String {
        let url = match self {
            Self::Origin(origin) => origin.url(),
            Self::Wire(wire) => wire.url(),
        };
        format!("{url}/token")
    }

    fn calls(&self) -> usize {
        match self {
            Self::Origin(origin) => origin.requests().len(),
            Self::Wire(wire) => wire.calls(),
        }
    }

    fn mend(&self) {
        match self {
            Self::Origin(origin) => origin.set_reply(|_| RawReply::ok(GOOD_ANSWER)),
            Self::Wire(wire) => wire.mend(),
        }
    }
}

async fn play(case: Case) {
    let name = case.name;
    let server = Server::start(case.answer).await;
    let clock = Arc::new(ManualClock::new());
    let manager = manager(&server, case.http, &clock);
    let began = Instant::now();
    let result = manager.get_token().await;
    let took = began.elapsed();
    match case.expected {
        ExpectedOutcome::AcceptedToken(expected) => {
            let token = result.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            check_accepted(name, &expected, &token, &clock);
            let again = manager.get_token().await.expect("the same one");
            assert_eq!(again.id(), token.id(), "{name}: cached");
            assert!(manager.status().has_token, "{name}");
            assert_eq!(server.calls(), 1, "{name}");
        }
        ExpectedOutcome::ExpectedError(expected) => {
            let error = result.err().unwrap_or_else(|| panic!("{name}: accepted"));
            check_refused(name, &expected, &error);
            assert!(took < Duration::from_secs(20), "{name}: took {took:?}");
            let calls = if is_repeated(&error) { 2 } else { 1 };
            check_nothing_cached(name, &manager, &error).await;
            assert_eq!(server.calls(), calls, "{name}: also within the cool-down");
            check_hung_up(name, &expected, &server).await;
            server.mend();
            clock.advance(PAST_COOL_DOWN);
            let token = manager.get_token().await;
            let token = token.unwrap_or_else(|error| panic!("{name}: then a good answer, and {error:?}"));
            assert_eq!(token.access_token(), GOOD, "{name}");
            assert!(manager.status().has_token && manager.status().last_error.is_none(), "{name}");
            assert_eq!(server.calls(), calls + 1, "{name}");
        }
    }
    check_masked(name, &format!("{manager:?} {:?} {:#?}", manager.cached(), manager.status()));
}

fn manager(server: &Server, http: Http, clock: &Arc<ManualClock>) -> TokenManager {
    let clock = || Arc::clone(clock) as Arc<dyn Clock>;
    let provider = ClientCredentialsTokenProvider::builder(server.token_url(), "client", "canary-secret")
        .service_name("test")
        .clock(clock());
    let provider = match http {
        Http::Default => provider,
        Http::Undecoded => provider.http(ClientBuilder::no_gzip),
        Http::Timeout(limit) => provider.http(move |http| http.timeout(limit)),
    };
    TokenManager::builder(provider.build().expect("a provider")).clock(clock()).build().expect("a manager")
}

fn check_accepted(name: &str, expected: &AcceptedToken, token: &Credential, clock: &ManualClock) {
    assert_eq!(token.access_token(), expected.access_token, "{name}");
    assert_eq!(token.token().authorization_header(), format!("Bearer {}", expected.access_token), "{name}");
    assert_eq!(token.token().refresh_token(), expected.refresh_token, "{name}");
    let lifetime = token.expires_at().map(|end| end.timestamp_millis() - clock.now().wall_millis());
    assert_eq!(lifetime, expected.lifetime, "{name}");
    check_masked(name, &format!("{token:?} {:#?}", token.token()));
}

fn check_refused(name: &str, expected: &ExpectedError, error: &AuthenticationError) {
    assert_ne!(*error.kind(), AuthenticationErrorKind::Panicked, "{name}: {error:?}");
    assert_eq!(*error.kind(), expected.kind, "{name}: {error:?}");
    assert_eq!(error.status().map(|status| status.as_u16()), expected.status, "{name}: {error:?}");
    let display = error.to_string();
    assert!(display.starts_with("test: no token: "), "{name}: {display}");
    assert!(display.contains(expected.words), "{name}: {display}");
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(causes, ": {error}").expect("memory");
        cause = error.source();
    }
    let told = format!("{display}{causes}");
    assert!(told.contains(&expected.cause), "{name}: {told}");
    check_masked(name, &shown(error));
}

/// The provider repeats a call once if the fault may pass in a moment.
fn is_repeated(error: &AuthenticationError) -> bool {
    error.is_transient() && !error.is_timeout()
}

async fn check_nothing_cached(name: &str, manager: &TokenManager, error: &AuthenticationError) {
    assert!(manager.cached().is_none(), "{name}");
    let status = manager.status();
    assert!(!status.has_token && status.usable_for.is_none(), "{name}: {status:?}");
    let last = status.last_error.unwrap_or_else(|| panic!("{name}: the failure is remembered"));
    assert_eq!(last.to_string(), error.to_string(), "{name}");
    let again = manager.get_token().await.err().unwrap_or_else(|| panic!("{name}: a token from nowhere"));
    assert_eq!(again.kind(), error.kind(), "{name}: the cool-down");
}

/// A server that writes for ever must soon see that the client has hung up.
async fn check_hung_up(name: &str, expected: &ExpectedError, server: &Server) {
    let Server::Wire(wire) = server else { return };
    let ended = tokio::time::timeout(Duration::from_secs(5), wire.ended()).await;
    let ended = ended.unwrap_or_else(|_| panic!("{name}: the connection is still open"));
    assert!(ended < MAX_TAKEN, "{name}: {ended} bytes were taken");
    if expected.words.contains("1 MiB") {
        assert!(ended > 1024 * 1024, "{name}: {ended} bytes were taken");
    }
}

/// All texts of an error.
fn shown(error: &AuthenticationError) -> String {
    let mut shown = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        write!(shown, "{error} {error:?} {error:#?} ").expect("memory");
        cause = error.source();
    }
    shown
}

/// No error shows the canary, as text or as a list of bytes.
fn check_masked(name: &str, shown: &str) {
    assert!(!shown.to_lowercase().contains("canary"), "{name}: {shown}");
    let dense: String = shown.split_whitespace().collect();
    assert!(!dense.contains("99,97,110,97,114,121"), "{name}: {shown}");
}

#[test]
fn the_compressed_zeros_are_what_they_are_said_to_be() {
    let mut zeros = Vec::new();
    let file = gzip::zeros(3);
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&*file), &mut zeros).expect("gzip");
    assert!(zeros.len() == 3 * 1024 * 1024 && zeros.iter().all(|byte| *byte == 0));
    assert!(gzip::zeros(512).len() < 1024 * 1024, "less than the cap before it is decoded");
}
