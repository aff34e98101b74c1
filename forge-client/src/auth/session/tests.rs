//! Each transition of a session, and its promises over several of them.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use forge_core::{TokenData, TokenSource, async_trait};
use http::Method;

use super::super::replay::MAX_BACK_OFF;
use super::*;
use crate::timing::until_over;
use crate::{ApiKeyAuth, Auth, AuthHook, BasicAuth, CompositeAuth, SimpleAuthRetryStrategy, TokenAuth};

type TokenResult<T> = Result<T, AuthenticationError>;

fn credential(token: &str) -> Arc<Credential> {
    Arc::new(Credential::new(TokenData::new(token)).unwrap())
}

/// A source with this credential and this remaining back-off. Remembers which credentials were rejected, and whether
/// it was asked for a new token.
#[derive(Default)]
struct Source {
    cached: Mutex<Option<Arc<Credential>>>,
    next_renewal_in: Mutex<Option<Duration>>,
    rejected: Mutex<Vec<TokenId>>,
    forced: Mutex<u32>,
}

impl Source {
    fn with(cached: Option<&Arc<Credential>>) -> Arc<Self> {
        Arc::new(Self { cached: Mutex::new(cached.cloned()), ..Self::default() })
    }

    fn set(&self, cached: Option<&Arc<Credential>>, next_renewal_in: Option<Duration>) {
        *self.cached.lock().unwrap() = cached.cloned();
        *self.next_renewal_in.lock().unwrap() = next_renewal_in;
        self.rejected.lock().unwrap().clear();
    }
}

#[async_trait]
impl TokenSource for Source {
    fn cached(&self) -> Option<Arc<Credential>> {
        self.cached.lock().unwrap().clone()
    }

    async fn get_token(&self) -> TokenResult<Arc<Credential>> {
        Ok(credential("fetched"))
    }

    async fn invalidate_token(&self) -> TokenResult<()> {
        unreachable!("a session invalidates nothing")
    }

    async fn force_refresh(&self) -> TokenResult<Arc<Credential>> {
        *self.forced.lock().unwrap() += 1;
        Ok(credential("forced"))
    }

    async fn refresh_rejected(&self, _: &Credential) -> TokenResult<Option<Arc<Credential>>> {
        Ok(Some(credential("renewed")))
    }

    fn mark_rejected(&self, rejected: &Credential) {
        self.rejected.lock().unwrap().push(rejected.id());
    }

    fn next_renewal_in(&self) -> Option<Duration> {
        *self.next_renewal_in.lock().unwrap()
    }
}

fn no_headers() -> &'static HeaderMap {
    static NONE: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);
    &NONE
}

fn answered(status: u16) -> ExaminedResponse<'static> {
    ExaminedResponse::new(StatusCode::from_u16(status).unwrap(), no_headers())
}

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn config(auth: impl Into<Auth>) -> AuthSessionConfig {
    AuthSessionConfig::with_auth(auth).origin("https://a.example").build().unwrap()
}

fn tokens(source: &Arc<Source>, max_retries: u32, delay: Duration) -> TokenAuth {
    let strategy = SimpleAuthRetryStrategy::new().max_retries(max_retries).delay(delay);
    TokenAuth::new(Arc::clone(source)).auth_retry_strategy(strategy)
}

/// Starts an attempt, and adds the credentials that need no fetch. Returns the headers, and the fetch that is
/// missing.
fn begin<'a>(
    session: &mut AuthSession<'a>,
    at: &str,
    own: &HeaderMap,
) -> (HeaderMap, Option<TokenFetch<'a>>) {
    let url = url(at);
    session.start(&url);
    let mut headers = own.clone();
    let fetch = session.add_credentials(&AuthRequest::new(&Method::GET, &url, own), &mut headers).unwrap();
    (headers, fetch)
}

/// Makes an attempt with this token that the server answers with 401. Returns the next step.
fn reject(session: &mut AuthSession<'_>, source: &Source, token: &Arc<Credential>) -> NextStep {
    *source.cached.lock().unwrap() = Some(Arc::clone(token));
    let (_, fetch) = begin(session, "https://a.example/x", no_headers());
    assert!(fetch.is_none() && session.carries_token());
    session.after_response(&answered(401))
}

const AT_ONCE: NextStep = NextStep::Renew(ReplaySchedule::RenewThenWait(Duration::ZERO));

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[test]
fn a_started_attempt_gets_the_token_that_is_cached() {
    let source = Source::with(Some(&credential("1")));
    let config = config(TokenAuth::new(source));
    let mut session = config.session();
    let (headers, fetch) = begin(&mut session, "https://a.example/x", no_headers());
    assert_eq!((text(&headers, "authorization"), fetch.is_none()), (Some("Bearer 1"), true));
    assert!(session.carries_token());
    session.start(&url("https://a.example/x"));
    assert!(!session.carries_token(), "the next attempt carries nothing so far");
}

#[tokio::test]
async fn a_missing_token_is_fetched_and_supplied() {
    let source = Source::with(None);
    let config = config(TokenAuth::new(source));
    let mut session = config.session();
    let (mut headers, fetch) = begin(&mut session, "https://a.example/x", no_headers());
    assert!(headers.is_empty() && !session.carries_token());
    session.supply_token(fetch.unwrap().run().await.unwrap());
    let url = url("https://a.example/x");
    let request = AuthRequest::new(&Method::GET, &url, no_headers());
    assert!(session.add_credentials(&request, &mut headers).unwrap().is_none());
    assert_eq!((text(&headers, "authorization"), session.carries_token()), (Some("Bearer fetched"), true));
}

#[tokio::test]
async fn a_forced_renewal_fetches_once_for_the_call_and_only_a_success_counts() {
    let source = Source::with(Some(&credential("1")));
    let config = config(TokenAuth::new(Arc::clone(&source)));
    let mut session = AuthSession::with_plan(&config.plan, true);
    let start = |session: &mut AuthSession<'_>| {
        let mut headers = HeaderMap::new();
        session.start_at(true);
        let url = url("https://a.example/x");
        let request = AuthRequest::new(&Method::GET, &url, no_headers());
        session.add_credentials(&request, &mut headers).unwrap().is_some()
    };
    assert!(start(&mut session), "a cached token does not do");
    assert!(start(&mut session), "the first fetch was not successful");
    session.start_at(true);
    let url = url("https://a.example/x");
    let request = AuthRequest::new(&Method::GET, &url, no_headers());
    let fetch = session.add_credentials(&request, &mut HeaderMap::new()).unwrap().unwrap();
    session.supply_token(fetch.run().await.unwrap());
    assert_eq!(*source.forced.lock().unwrap(), 1);
    assert!(!start(&mut session), "later attempts take what is cached");
}

#[test]
fn inv13_another_origin_sees_nothing_and_no_later_attempt_gets_anything_back() {
    let source = Source::with(Some(&credential("1")));
    let config = config(TokenAuth::new(source));
    let mut session = config.session();
    for (at, has_token) in [
        ("https://a.example/x", true),
        ("https://a.example:443/y", true),
        ("https://b.example/x", false),
        ("https://a.example/x", false),
    ] {
        let (headers, fetch) = begin(&mut session, at, no_headers());
        assert_eq!((headers.contains_key("authorization"), fetch.is_none()), (has_token, true), "{at}");
        assert_eq!(session.after_response(&answered(401)) == AT_ONCE, has_token, "{at}");
    }
}

#[test]
fn the_callers_own_header_stays_and_is_not_judged() {
    let source = Source::with(None);
    let auth = CompositeAuth::all().with(ApiKeyAuth::new("key")).with(TokenAuth::new(source));
    let config = config(auth);
    let mut session = config.session();
    let own: HeaderMap = [("authorization", "own"), ("x-api-key", "own")]
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .into_iter()
        .collect();
    let (headers, fetch) = begin(&mut session, "https://a.example/x", &own);
    assert_eq!((headers, fetch.is_none(), session.carries_token()), (own, true, false));
    assert_eq!(session.after_response(&answered(401)), NextStep::Done);
}

#[test]
fn inv11_an_accepted_request_is_remembered_and_a_way_to_a_login_page_is_none() {
    for (status, accepted) in [(401, false), (403, false), (302, false), (500, false), (200, true)] {
        let one = credential("1");
        let config = config(TokenAuth::new(Source::with(Some(&one))));
        let mut session = config.session();
        begin(&mut session, "https://a.example/x", no_headers());
        let next = session.after_response(&answered(status));
        assert_eq!((next == AT_ONCE, one.was_accepted()), (status == 401, accepted), "{status}");
    }
}

#[test]
fn a_denied_request_is_done_and_so_is_one_without_a_token() {
    let config = config(TokenAuth::new(Source::with(Some(&credential("1")))));
    let mut session = config.session();
    assert_eq!(session.after_response(&answered(401)), NextStep::Done);
    assert!(session.renewal().is_none() && !session.record_renewal(Some(credential("2"))));
    begin(&mut session, "https://a.example/x", no_headers());
    for verdict in [AuthVerdict::AccessDenied, AuthVerdict::Unknown] {
        assert_eq!(session.after_verdict(verdict, &answered(401)), NextStep::Done, "{verdict:?}");
    }
    assert_eq!(session.after_verdict(AuthVerdict::TokenRejected, &answered(200)), AT_ONCE);
    session.forget_sent();
    assert_eq!(session.after_response(&answered(401)), NextStep::Done, "a hook has replaced the token");
}

#[tokio::test]
async fn a_renewed_token_is_what_the_next_attempt_carries() {
    let source = Source::with(None);
    let config = config(tokens(&source, 1, Duration::ZERO));
    let mut session = config.session();
    assert_eq!(reject(&mut session, &source, &credential("1")), AT_ONCE);
    let renewed = session.renewal().unwrap().run().await.unwrap();
    assert!(session.record_renewal(renewed));
    assert!(session.renewal().is_none(), "one renewal for one rejection");
    let (headers, _) = begin(&mut session, "https://a.example/x", no_headers());
    assert_eq!(text(&headers, "authorization"), Some("Bearer renewed"));
}

#[test]
fn a_renewal_that_fails_may_run_once_more() {
    let source = Source::with(None);
    let config = config(tokens(&source, 1, Duration::ZERO));
    let mut session = config.session();
    assert_eq!(reject(&mut session, &source, &credential("1")), AT_ONCE);
    // The first renewal gave the loop an error, so the loop records nothing.
    drop(session.renewal().unwrap());
    assert!(session.renewal().is_some());
}

#[test]
fn inv11_a_later_replay_waits_for_the_longer_of_delay_and_back_off_and_then_renews() {
    let delay = Duration::from_secs(2);
    let source = Source::with(None);
    let config = config(tokens(&source, 9, delay));
    let mut session = config.session();
    let tokens = ["1", "2", "3"].map(credential);
    let [one, two, three] = &tokens;
    let seconds = |seconds| Some(Duration::from_secs(seconds));

    source.set(None, seconds(60));
    let next = reject(&mut session, &source, one);
    assert_eq!(next, NextStep::Renew(ReplaySchedule::RenewThenWait(delay)));
    assert_eq!(source.rejected.lock().unwrap().len(), 0, "at once");
    assert!(session.record_renewal(Some(Arc::clone(two))));
    begin(&mut session, "https://a.example/x", no_headers());

    for (cached, back_off, waits) in [
        (None, None, delay),
        (None, seconds(0), delay),
        (None, seconds(1), delay),
        (None, seconds(3), until_over(Duration::from_secs(3))),
        (Some(two), seconds(3), until_over(Duration::from_secs(3))),
        (Some(one), seconds(3), until_over(Duration::from_secs(3))),
        // Another call has renewed the token meanwhile.
        (Some(three), seconds(3), delay),
        (Some(three), seconds(61), delay),
        (None, seconds(60), until_over(MAX_BACK_OFF)),
    ] {
        source.set(cached, back_off);
        let next = session.after_response(&answered(401));
        assert_eq!(next, NextStep::Renew(ReplaySchedule::WaitThenRenew(waits)));
        assert_eq!(*source.rejected.lock().unwrap(), [two.id()], "marked before the wait begins");
    }
    for back_off in [MAX_BACK_OFF + Duration::from_millis(1), Duration::MAX] {
        source.set(None, Some(back_off));
        let next = session.after_response(&answered(401));
        assert_eq!((next, source.rejected.lock().unwrap().len()), (NextStep::Done, 1), "{back_off:?}");
    }
}

#[test]
fn inv12_the_second_401_goes_to_the_caller() {
    let source = Source::with(None);
    let config = config(tokens(&source, 1, Duration::ZERO));
    let mut session = config.session();
    let (one, two) = (credential("1"), credential("2"));
    assert_eq!(reject(&mut session, &source, &one), AT_ONCE);
    assert!(session.record_renewal(Some(Arc::clone(&two))));
    let (headers, _) = begin(&mut session, "https://a.example/x", no_headers());
    assert_eq!(text(&headers, "authorization"), Some("Bearer 2"));
    assert_eq!(session.after_response(&answered(401)), NextStep::Done);
}

#[test]
fn inv12_no_token_is_sent_again_once_it_was_rejected() {
    let source = Source::with(None);
    let config = config(tokens(&source, 9, Duration::ZERO));
    let mut session = config.session();
    let (one, two) = (credential("1"), credential("2"));
    assert_eq!(reject(&mut session, &source, &one), AT_ONCE);
    assert!(session.record_renewal(Some(Arc::clone(&two))));
    begin(&mut session, "https://a.example/x", no_headers());
    assert!(!session.record_renewal(Some(Arc::clone(&one))));
    reject(&mut session, &source, &two);
    assert!(!session.record_renewal(None));
}

#[test]
fn a_session_forgets_the_tokens_of_another_token_authentication() {
    let (below, elsewhere) = (Source::with(None), Source::with(Some(&credential("other"))));
    let auth = CompositeAuth::first()
        .with(tokens(&below, 1, Duration::ZERO).excluded_paths(["/other"]))
        .with(TokenAuth::new(elsewhere));
    let config = config(auth);
    let mut session = config.session();
    assert_eq!(reject(&mut session, &below, &credential("1")), AT_ONCE);
    assert!(session.record_renewal(Some(credential("2"))));
    let (headers, _) = begin(&mut session, "https://a.example/other", no_headers());
    assert_eq!(
        text(&headers, "authorization"),
        Some("Bearer other"),
        "not the renewed token of the other source"
    );
    assert_eq!(session.after_response(&answered(401)), AT_ONCE, "its first replay");
}

#[test]
fn a_hook_that_fails_is_an_error_and_nothing_is_sent() {
    #[derive(Debug)]
    struct FailingHook;
    impl AuthHook for FailingHook {
        fn header_names(&self) -> Vec<http::HeaderName> {
            vec![http::HeaderName::from_static("x-signature")]
        }

        fn authenticate(&self, _: &AuthRequest<'_>) -> TokenResult<HeaderMap> {
            Err(AuthenticationError::new("", forge_core::AuthenticationErrorKind::Configuration))
        }
    }
    let config = config(CompositeAuth::all().with(BasicAuth::new("u", "p")).with(FailingHook));
    let mut session = config.session();
    let url = url("https://a.example/x");
    session.start(&url);
    let request = AuthRequest::new(&Method::GET, &url, no_headers());
    assert!(session.add_credentials(&request, &mut HeaderMap::new()).is_err());
}

#[test]
fn debug_shows_no_token() {
    let config = config(TokenAuth::new(Source::with(Some(&credential("canary")))));
    let mut session = config.session();
    begin(&mut session, "https://a.example/x", no_headers());
    let shown = format!("{session:?} {:?} {config:?}", session.renewal());
    assert!(shown.contains("carries_token: true") && !shown.contains("canary"), "{shown}");
}
