//! The managers of one process, over one storage.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use forge_tests::fleet::{Failure, Outcome, Request, Settings, State, name, now};
use requestforge::oauth2::{Grant, OAuth2TokenProviderBuilder};
use requestforge::token::{Clock, ClockReading, SystemClock};
use requestforge::{
    AuthenticationError, ClientCredentialsTokenProvider, Credential, PasswordGrantTokenProvider,
    RedisTokenStorage, TokenManager, TokenProvider,
};

use crate::steps::Steps;
use crate::until;

/// The limit for a call of Redis. The default is a limit for outages. Here Redis is up, and only the
/// processors are busy with all the other processes.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes managers.
pub(crate) struct Maker {
    issuer: Issuer,
    storage: RedisTokenStorage,
    clock: Arc<dyn Clock>,
}

enum Issuer {
    Grant(Arc<dyn TokenProvider>),
    /// A pipeline for each key.
    Steps(Box<Steps>),
}

impl Maker {
    pub(crate) fn new(settings: &Settings) -> Result<Self, Box<dyn Error>> {
        let clock: Arc<dyn Clock> = Arc::new(AheadOfTime(settings.clock_ahead));
        let storage = settings
            .redis
            .storage()
            .key_prefix(&settings.prefix)
            .lease(settings.lease)
            .command_timeout(COMMAND_TIMEOUT)
            .clock(Arc::clone(&clock))
            .build()?;
        let issuer = if settings.steps {
            Issuer::Steps(Box::new(Steps::new(settings, &storage, &clock)))
        } else {
            Issuer::Grant(provider(settings, &clock)?)
        };
        Ok(Self { issuer, storage, clock })
    }

    pub(crate) fn manage(&self, key: &str) -> Result<ManagedTokens, Box<dyn Error>> {
        let provider = match &self.issuer {
            Issuer::Grant(provider) => Arc::clone(provider),
            Issuer::Steps(steps) => steps.provider(key)?,
        };
        let manager = TokenManager::builder(provider)
            .storage(self.storage.clone())
            .cache_key(key)
            .clock(Arc::clone(&self.clock))
            .build()?;
        Ok(ManagedTokens { manager, clock: Arc::clone(&self.clock), got: Mutex::default() })
    }
}

fn provider(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Arc<dyn TokenProvider>, Box<dyn Error>> {
    let Settings { token_url, client_id, client_secret, user, mark, .. } = settings;
    let secret = client_secret.as_str();
    match user {
        None => built(ClientCredentialsTokenProvider::builder(token_url, client_id, secret), mark, clock),
        Some((name, password)) => {
            let password = password.as_str();
            built(
                PasswordGrantTokenProvider::builder(token_url, client_id, secret, name, password),
                mark,
                clock,
            )
        }
    }
}

fn built<G: Grant + 'static>(
    builder: OAuth2TokenProviderBuilder<G>,
    mark: &str,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn TokenProvider>, Box<dyn Error>> {
    let mark = mark.to_owned();
    let builder = builder.scope("read").clock(Arc::clone(clock));
    Ok(Arc::new(builder.http(move |http| http.user_agent(mark.clone())).build()?))
}

/// A manager, and the token that it returned last.
pub(crate) struct ManagedTokens {
    manager: TokenManager,
    clock: Arc<dyn Clock>,
    got: Mutex<Option<Arc<Credential>>>,
}

impl ManagedTokens {
    /// The token that the next caller would get at once.
    pub(crate) fn at_hand(&self) -> Option<String> {
        self.manager.with_token(|token| name(token.id()))
    }

    /// The state of the manager. To ask for it does not use the token, so the manager renews nothing.
    pub(crate) fn state(&self) -> State {
        let status = self.manager.status();
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = self.clock.now().wall_millis();
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let expires_at = got.as_ref().and_then(|token| token.expires_at());
        State {
            usable_for: status.usable_for.map(millis),
            expires_in: expires_at.map(|at| at.timestamp_millis() - now),
            last_error: status.last_error.map(|error| error.to_string()),
            cool_down: status.cool_down.map(millis),
        }
    }

    pub(crate) async fn call(self: Arc<Self>, what: Request, at: u64) -> Outcome {
        let rejected = self.got.lock().unwrap_or_else(PoisonError::into_inner).clone();
        until(at).await;
        let begun = Instant::now();
        let got = match (what, rejected) {
            (Request::Get, _) => self.manager.get_token().await.map(Some),
            (Request::Force, _) => self.manager.force_refresh().await.map(Some),
            (Request::Invalidate, _) => self.manager.invalidate_token().await.map(|()| None),
            (Request::Reject, Some(rejected)) => self.manager.refresh_rejected(&rejected).await,
            (Request::Reject, None) => Ok(None),
        };
        self.outcome(got, begun)
    }

    pub(crate) async fn use_until(self: Arc<Self>, pause: Duration, until: u64) -> Outcome {
        let mut all = Outcome::default();
        while now() < until {
            let begun = Instant::now();
            let one = self.outcome(self.manager.get_token().await.map(Some), begun);
            all.tokens.extend(one.tokens);
            all.errors.extend(one.errors);
            all.longest = all.longest.max(one.longest);
            all.ended = one.ended;
            tokio::time::sleep(pause).await;
        }
        all
    }

    fn outcome(&self, got: Result<Option<Arc<Credential>>, AuthenticationError>, begun: Instant) -> Outcome {
        let mut outcome = Outcome { longest: begun.elapsed(), ended: now(), ..Outcome::default() };
        match got {
            Ok(Some(token)) => {
                outcome.tokens.insert(name(token.id()));
                *self.got.lock().unwrap_or_else(PoisonError::into_inner) = Some(token);
            }
            Ok(None) => outcome.without = 1,
            Err(error) => outcome.errors.push(Failure {
                text: chain(&error),
                status: error.status().map(|status| status.as_u16()),
                is_transient: error.is_transient(),
            }),
        }
        outcome
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The machine's clock, with its wall clock ahead by so many milliseconds.
#[derive(Debug)]
struct AheadOfTime(i64);

impl Clock for AheadOfTime {
    fn now(&self) -> ClockReading {
        let now = SystemClock.now();
        ClockReading::from_millis(now.wall_millis().saturating_add(self.0), now.monotonic_millis())
    }
}
