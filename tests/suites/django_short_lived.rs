//! Tokens that live for four seconds, with rotation and reuse protection, by the real clock. If a client
//! sends a refresh token twice, it loses the whole family. The server deletes the access token that it
//! replaces, so it rejects requests that are on their way at that moment.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex as StdMutex, MutexGuard as StdMutexGuard, PoisonError};
use std::time::{Duration, Instant};

use requestforge::reqwest::StatusCode;
use requestforge::storage::TokenId;
use requestforge::{
    AuthenticationError, Credential, HttpClient, HttpClientError, TokenAuth, TokenManager, TokenSource,
    async_trait,
};
use serde_json::Value;
use tokio::sync::{Barrier, Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{password_at, server, told_by};

static SERVER: LazyLock<Value> = LazyLock::new(|| server("FORGE_DJANGO_SHORT_LIVED"));

const LIFE: Duration = Duration::from_secs(4);
/// A manager renews a token in use from here on, or up to a quarter of a second later. This is the second
/// half of the time before the mandatory window, which is half of the token's life.
const ADVISORY: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(240);

/// So many callers that a request is nearly always under way, and so slow that the server has time to spare.
const CALLERS: u32 = 16;
const PAUSE: Duration = Duration::from_millis(300);

const BURST_SIZE: usize = 16;

/// One test runs at a time, beside those of the other server, because the server counts for all tests from
/// zero on.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let alone = ONE.lock().await;
    Counts::reset().await;
    alone
}

#[tokio::test(flavor = "multi_thread")]
async fn inv09_fifty_lives_under_load_and_no_family_is_revoked() {
    const LIVES: usize = 50;
    const BURSTS: usize = 5;

    let _alone = alone().await;
    let mut load = Load::begin();
    for _ in 0..BURSTS {
        // The first of them is the token of the burst before, which ended another token's life early.
        load.goes_through(1 + LIVES / BURSTS).await;
        let rejected = load.accepted_for(ADVISORY / 2).await;
        burst(load.manager(), rejected, 0).await;
    }
    let figures = load.end().await;
    let counts = Counts::read().await;

    assert!(figures.tokens >= LIVES + BURSTS, "only {} tokens", figures.tokens);
    counts.assert_no_token_call_failed();
    assert_eq!(counts.password_grants(), 1);
    // The last token may have come too late for any caller, and so may others if the machine stood still.
    let renewals = u64::try_from(figures.tokens).expect("a small number") - 1;
    assert!((renewals..=renewals + renewals / 10).contains(&counts.refreshes()), "{renewals}");
    // The client replayed only requests that were on their way with the token before.
    assert_eq!(counts.of("/protected_calls_by_status/200"), figures.answers);
    assert_eq!(counts.of("/protected_calls_by_status/401"), figures.replays + figures.overtaken);
}

/// A forced fetch is a full grant, so it begins a family. No forced fetch and no rejection at the same
/// moment sends a refresh token that a background renewal has sent.
#[tokio::test(flavor = "multi_thread")]
async fn inv09_forced_fetches_and_rejections_at_once_send_no_refresh_token_twice() {
    let _alone = alone().await;
    let mut load = Load::begin();
    for round in 0..6 {
        // Each time at another moment of the token's life, until after the start of its background renewal.
        // In every other round all of them use force.
        let rejected = load.accepted_for(ADVISORY / 2 + ADVISORY / 8 * round).await;
        burst(load.manager(), rejected, if round % 2 == 0 { BURST_SIZE } else { BURST_SIZE / 2 }).await;
    }
    let figures = load.end().await;
    let counts = Counts::read().await;

    counts.assert_no_token_call_failed();
    assert!(counts.password_grants() > 1);
    assert_eq!(counts.of("/protected_calls_by_status/200"), figures.answers);
}

#[tokio::test(flavor = "multi_thread")]
async fn inv01_a_token_that_expired_unused_is_renewed_once_for_all_who_come_back() {
    let _alone = alone().await;
    let manager = TokenManager::new(password_at(&SERVER).scope("read").build().expect("a provider"));
    let expired = manager.get_token().await.expect("a token");
    sleep(LIFE + Duration::from_millis(100)).await;
    assert!(manager.cached().is_none());

    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let manager = manager.clone();
        callers.spawn(async move { manager.get_token().await.expect("a token").id() });
    }
    let renewed: HashSet<TokenId> = callers.join_all().await.into_iter().collect();
    assert!(renewed.len() == 1 && !renewed.contains(&expired.id()), "{} tokens", renewed.len());
    let counts = Counts::read().await;
    counts.assert_no_token_call_failed();
    assert_eq!((counts.password_grants(), counts.refreshes()), (1, 1));
    assert!(client(manager).get("/api/me").send().await.expect("an answer").is_success());
}

#[tokio::test]
async fn a_forced_fetch_is_a_full_grant_also_while_a_refresh_is_under_way() {
    let _alone = alone().await;
    let manager = TokenManager::new(password_at(&SERVER).scope("read").build().expect("a provider"));
    let first = manager.get_token().await.expect("a token");
    let (renewed, forced) = tokio::join!(manager.refresh_rejected(&first), manager.force_refresh());
    assert!(renewed.expect("a token").is_some() && forced.is_ok());
    let counts = Counts::read().await;
    counts.assert_no_token_call_failed();
    assert_eq!((counts.password_grants(), counts.refreshes()), (2, 1));
}

fn client(source: impl TokenSource + 'static) -> HttpClient {
    let builder = HttpClient::builder(told_by(&SERVER, "/url")).with_token_auth(TokenAuth::new(source));
    builder.build().expect("a client")
}

/// Callers of the API that go on until the test stops them.
struct Load {
    watched: Arc<WatchedAnswers>,
    callers: JoinSet<()>,
    stop: Arc<AtomicBool>,
    begin: Instant,
}

/// The results of the callers.
struct Figures {
    tokens: usize,
    answers: u64,
    overtaken: u64,
    replays: u64,
}

impl Load {
    fn begin() -> Self {
        let manager = TokenManager::new(password_at(&SERVER).scope("read").build().expect("a provider"));
        let watched = Arc::new(WatchedAnswers { manager, seen: StdMutex::default() });
        let client = client(Arc::clone(&watched));
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (client, stop, watched) = (client.clone(), Arc::clone(&stop), Arc::clone(&watched));
            callers.spawn(async move {
                sleep(PAUSE * number / CALLERS).await;
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    match client.get("/api/me").send().await {
                        Ok(response) => watched.seen().answer(response.status_code(), begin.elapsed()),
                        Err(error) => watched.seen().no_answer(&error),
                    }
                    sleep(PAUSE).await;
                }
            });
        }
        Self { watched, callers, stop, begin: Instant::now() }
    }

    fn manager(&self) -> &TokenManager {
        &self.watched.manager
    }

    /// Waits until the server has handed out so many more tokens to the client.
    async fn goes_through(&mut self, tokens: usize) {
        let tokens = self.watched.seen().tokens.len() + tokens;
        while self.watched.seen().tokens.len() < tokens {
            self.goes_on().await;
        }
    }

    /// Waits until the current token has been there for so long, and the API accepts requests with it.
    async fn accepted_for(&mut self, time: Duration) -> Arc<Credential> {
        let mut current: Option<(Arc<Credential>, Instant)> = None;
        loop {
            let at_hand = self.manager().cached().filter(|token| token.was_accepted());
            current = at_hand.map(|token| match current.take() {
                Some((known, since)) if known.id() == token.id() => (known, since),
                _ => (token, Instant::now()),
            });
            if let Some((token, _)) = current.take_if(|(_, since)| since.elapsed() >= time) {
                return token;
            }
            self.goes_on().await;
        }
    }

    /// Lets a moment pass. No caller may fail in it.
    async fn goes_on(&mut self) {
        if let Some(ended) = self.callers.try_join_next() {
            panic!("a caller has ended: {ended:?}");
        }
        assert!(self.begin.elapsed() < LIMIT, "{} tokens in {LIMIT:?}", self.watched.seen().tokens.len());
        sleep(Duration::from_millis(5)).await;
    }

    async fn end(self) -> Figures {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        assert!(self.watched.manager.shutdown(LIFE).await, "a renewal does not end");
        let last_error = self.watched.manager.status().last_error;
        assert!(last_error.is_none(), "{last_error:?}");

        let seen = self.watched.seen();
        println!("{} tokens in {:.1?}: {seen:?}", seen.tokens.len(), self.begin.elapsed());
        let excused = seen.overtaken + seen.stood_still;
        assert!(excused * 20 <= seen.answers, "this machine is too slow for such lives: {seen:?}");
        Figures {
            tokens: seen.tokens.len(),
            answers: seen.answers,
            overtaken: seen.overtaken,
            replays: seen.replays,
        }
    }
}

/// The manager, and the tokens that it gives the client.
struct WatchedAnswers {
    manager: TokenManager,
    seen: StdMutex<LeaseRead>,
}

#[derive(Default)]
struct LeaseRead {
    tokens: HashSet<TokenId>,
    /// Requests that found no token in memory.
    waits: u64,
    longest_wait: Duration,
    replays: u64,
    answers: u64,
    longest_answer: Duration,
    /// Requests whose second token came too late as well.
    overtaken: u64,
    /// Requests without a token, because the last token took longer to arrive than it lived.
    stood_still: u64,
}

impl LeaseRead {
    fn answer(&mut self, status: StatusCode, time: Duration) {
        self.longest_answer = self.longest_answer.max(time);
        if status == StatusCode::UNAUTHORIZED && time > ADVISORY {
            // Between the arrival of the replay's token and this answer the manager renewed that token, too.
            // That happens only if a server or the machine stands still for longer than a manager leaves a
            // token alone.
            self.overtaken += 1;
        } else {
            assert_eq!(status, StatusCode::OK, "after {time:?}");
            self.answers += 1;
        }
    }

    /// The only failure that is not a fault of the code: the machine stood still for a whole life. The
    /// client must not lose the rest of the late answer even then, so the test goes on.
    fn no_answer(&mut self, error: &HttpClientError) {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(cause.contains("expired on arrival"), "{error}: {cause}");
        self.stood_still += 1;
    }
}

impl fmt::Debug for LeaseRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waits, longest_wait, replays, answers, longest_answer, overtaken, stood_still, .. } = self;
        write!(
            f,
            "{answers} answers after {longest_answer:.0?} at most, {replays} replays, {overtaken} overtaken, \
             {stood_still} without a token; \
             {waits} requests waited for a token, {longest_wait:.0?} at most"
        )
    }
}

impl WatchedAnswers {
    fn seen(&self) -> StdMutexGuard<'_, LeaseRead> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl TokenSource for WatchedAnswers {
    fn cached(&self) -> Option<Arc<Credential>> {
        let cached = self.manager.cached()?;
        self.seen().tokens.insert(cached.id());
        Some(cached)
    }

    async fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        let begin = Instant::now();
        let token = self.manager.get_token().await?;
        let mut seen = self.seen();
        seen.tokens.insert(token.id());
        seen.waits += 1;
        seen.longest_wait = seen.longest_wait.max(begin.elapsed());
        Ok(token)
    }

    async fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        self.manager.invalidate_token().await
    }

    async fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        self.manager.force_refresh().await
    }

    async fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        let renewed = self.manager.refresh_rejected(rejected).await?;
        let mut seen = self.seen();
        seen.replays += 1;
        seen.tokens.extend(renewed.as_ref().map(|renewed| renewed.id()));
        Ok(renewed)
    }

    fn mark_rejected(&self, rejected: &Credential) {
        self.manager.mark_rejected(rejected);
    }

    fn next_renewal_in(&self) -> Option<Duration> {
        Some(self.manager.next_renewal_in())
    }
}

/// Many callers want another token than this one at the same moment; `forced` of them use force.
async fn burst(manager: &TokenManager, rejected: Arc<Credential>, forced: usize) {
    let ready = Arc::new(Barrier::new(BURST_SIZE));
    let mut callers = JoinSet::new();
    for number in 0..BURST_SIZE {
        let (manager, rejected, ready) = (manager.clone(), Arc::clone(&rejected), Arc::clone(&ready));
        callers.spawn(async move {
            ready.wait().await;
            let other = if number < forced {
                manager.force_refresh().await.map(Some)
            } else {
                manager.refresh_rejected(&rejected).await
            };
            let other = other.expect("a token").expect("not declined");
            assert_ne!(other.id(), rejected.id());
        });
    }
    callers.join_all().await;
}

/// The counters of the server since a moment.
struct Counts(Value);

impl Counts {
    async fn reset() {
        let client = HttpClient::builder(told_by(&SERVER, "/url")).build().expect("a client");
        assert!(client.post("/stats/reset").send().await.expect("an answer").is_success());
    }

    async fn read() -> Self {
        let client = HttpClient::builder(told_by(&SERVER, "/url")).build().expect("a client");
        let counts: Value = client.get("/stats").send().await.expect("an answer").json().await.expect("JSON");
        println!("{counts}");
        // These counters are the server's, since its start.
        assert_eq!(counts["families_revoked"], 0, "{counts}");
        Self(counts)
    }

    /// The number of calls with this answer.
    fn of(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    fn refreshes(&self) -> u64 {
        self.of("/token_calls_by_grant/refresh_token/200")
    }

    fn password_grants(&self) -> u64 {
        self.of("/token_calls_by_grant/password/200")
    }

    fn assert_no_token_call_failed(&self) {
        assert_eq!(self.of("/token_calls"), self.refreshes() + self.password_grants(), "{}", self.0);
    }
}
