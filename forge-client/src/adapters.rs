//! Authentication for clients that are not ours. They drive the state machine that our client drives.

#[cfg(feature = "tower")]
pub(crate) mod layer;
#[cfg(feature = "middleware")]
pub(crate) mod middleware;

use std::fmt;
use std::time::Duration;

use forge_core::{AuthVerdict, AuthenticationError, ConfigError};
use url::Url;

use crate::ExaminedResponse;
use crate::auth::{Auth, AuthPlan, CallAuth, Next};
use crate::origin::{Origin, absolute};
use crate::settings::{warn_about_exclusions, warn_about_plain_http};

/// What authenticates, and at which origins: what both adapters are told.
pub(crate) struct AdapterSettings {
    auth: Auth,
    origins: Vec<String>,
    plain_http_credentials: bool,
}

impl AdapterSettings {
    fn new(auth: Auth) -> Self {
        Self { auth, origins: Vec::new(), plain_http_credentials: false }
    }

    fn build(self) -> Result<(AuthPlan, Vec<Url>), ConfigError> {
        if self.origins.is_empty() {
            return Err(ConfigError::new("origin", "at least one: credentials belong to an origin"));
        }
        let origins: Vec<Url> =
            self.origins.iter().map(|origin| absolute("origin", origin)).collect::<Result<_, _>>()?;
        let plan = self.auth.build()?;
        if !self.plain_http_credentials {
            let origins: Vec<Origin> = origins.iter().map(Origin::of).collect();
            warn_about_plain_http(&origins, "`plain_http_credentials`");
        }
        warn_about_exclusions(&plan, None);
        Ok((plan, origins))
    }
}

/// Without the origins, which were not checked yet: one may hold a password.
impl fmt::Debug for AdapterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdapterSettings").field("auth", &self.auth).finish_non_exhaustive()
    }
}

/// Has the token source renew a rejected credential, after the schedule's first delay. Returns the delay before
/// the replay; `None` if the request is not replayed.
async fn decide_replay(
    auth: &mut CallAuth<'_>,
    verdict: AuthVerdict,
    response: &ExaminedResponse<'_>,
    can_be_sent_again: bool,
) -> Result<Option<Duration>, AuthenticationError> {
    let Next::Renew(schedule) = auth.after_verdict(verdict, response) else { return Ok(None) };
    if can_be_sent_again {
        pause(schedule.before_renewal).await;
    }
    let replays = auth.renew(can_be_sent_again).await?;
    if replays {
        tracing::debug!("replaying with another token after a rejection");
    }
    Ok(replays.then_some(schedule.before_replay))
}

/// Waits before a renewal or a replay. Without a delay it needs no timer of the runtime; most strategies set
/// none.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
