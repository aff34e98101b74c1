use std::sync::Arc;

use forge_core::Credential;
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use super::{AuthSession, BoundTokenAuth, Next};
use crate::{ExaminedResponse, HttpClientError};

/// The authentication of one call: asks the token source what the session wants to be asked.
pub(crate) struct CallAuth<'a> {
    auth: &'a BoundTokenAuth,
    session: AuthSession<'a>,
    /// What the attempt under way carries.
    sent: Option<Arc<Credential>>,
}

impl<'a> CallAuth<'a> {
    pub(crate) fn new(auth: &'a BoundTokenAuth) -> Self {
        Self { auth, session: auth.session(), sent: None }
    }

    /// Begins an attempt. It carries nothing so far.
    pub(crate) fn start(&mut self) {
        self.sent = None;
    }

    /// Adds the credential to a request for a trusted origin, where the path is not excluded and the
    /// caller has not set the header.
    pub(crate) async fn apply(
        &mut self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
    ) -> Result<(), HttpClientError> {
        if !self.auth.applies_to(url) || headers.contains_key(self.auth.header_name()) {
            return Ok(());
        }
        let credential = match self.session.take_renewed().or_else(|| self.auth.source().cached()) {
            Some(at_hand) => at_hand,
            None => self.auth.source().get_token().await?,
        };
        self.auth.apply(&credential, method, url, headers)?;
        self.sent = Some(credential);
        Ok(())
    }

    /// Whether the body must be at hand for [`after`](Self::after).
    pub(crate) fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        self.sent.is_some() && self.session.reads_body(status, headers)
    }

    /// What an answer asks for.
    pub(crate) fn after(&self, response: &ExaminedResponse<'_>) -> Next {
        self.sent.as_ref().map_or(Next::HandOn, |credential| self.session.after(credential, response))
    }

    /// Has the rejected credential renewed. Says whether another came of it, with which to replay.
    pub(crate) async fn renew(&mut self) -> Result<bool, HttpClientError> {
        let Some(rejected) = self.sent.take() else { return Ok(false) };
        let renewed = self.auth.source().refresh_rejected(&rejected).await?;
        Ok(self.session.replay_with(&rejected, renewed))
    }
}
