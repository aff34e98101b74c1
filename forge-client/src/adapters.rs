//! Authentication for other clients than ours. They drive the same [`AuthSession`] as our client.

#[cfg(feature = "tower")]
pub(crate) mod layer;
#[cfg(feature = "middleware")]
pub(crate) mod middleware;

use std::time::Duration;

use forge_core::{AuthVerdict, AuthenticationError};
use http::HeaderMap;

use crate::ExaminedResponse;
use crate::auth::{AuthRequest, AuthSession, NextStep};

/// Adds the credentials of an attempt, and fetches the token that is missing.
async fn add_credentials(
    session: &mut AuthSession<'_>,
    request: &AuthRequest<'_>,
    headers: &mut HeaderMap,
) -> Result<(), AuthenticationError> {
    while let Some(fetch) = session.add_credentials(request, headers)? {
        session.supply_token(fetch.run().await?);
    }
    Ok(())
}

/// Has the token source renew a rejected credential, after the schedule's first delay. Returns the delay before
/// the replay; `None` if the request is not replayed.
async fn decide_replay(
    session: &mut AuthSession<'_>,
    verdict: AuthVerdict,
    response: &ExaminedResponse<'_>,
    can_be_sent_again: bool,
) -> Result<Option<Duration>, AuthenticationError> {
    let NextStep::Renew(schedule) = session.after_verdict(verdict, response) else { return Ok(None) };
    if can_be_sent_again {
        pause(schedule.delay_before_renewal()).await;
    }
    let replays = session.renew_rejected_token(can_be_sent_again).await?;
    if replays {
        tracing::debug!("replaying with another token after a rejection");
    }
    Ok(replays.then_some(schedule.delay_before_replay()))
}

/// Waits before a renewal or a replay. Without a delay it needs no timer of the runtime; most strategies set
/// none.
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}
