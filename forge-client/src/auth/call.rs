use std::sync::Arc;

use forge_core::{AuthVerdict, AuthenticationError, ConfigError, Credential};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::bare::BareRequest;
use super::plan::{AuthPart, AuthPlan, apply_hook};
use super::{AuthSession, CheckedTokenAuth, Next};
use crate::ExaminedResponse;

/// What a request says of its authentication.
#[derive(Default)]
pub(crate) struct CallAuthOptions {
    pub(crate) auth_override: AuthOverride,
    /// A new token is fetched for it.
    pub(crate) force_renewal: bool,
}

/// What authenticates a request instead of the client's authentication.
#[derive(Default)]
pub(crate) enum AuthOverride {
    #[default]
    Inherit,
    Disable,
    Replace(Box<AuthPlan>),
}

impl CallAuthOptions {
    /// What must hold before anything is sent.
    pub(crate) fn check(&self, clients: Option<&AuthPlan>, is_trusted: bool) -> Result<(), ConfigError> {
        if matches!(self.auth_override, AuthOverride::Replace(_)) && !is_trusted {
            let expected = "a URL at the base URL's origin, or at one named by `with_credential_origin`";
            return Err(ConfigError::new("auth", expected));
        }
        if self.force_renewal && self.plan(clients).is_none_or(|plan| plan.max_tokens() == 0) {
            return Err(ConfigError::new("force_renewal", "authentication with tokens from a source"));
        }
        Ok(())
    }

    /// How a call is authenticated, if at all.
    pub(crate) fn plan<'a>(&'a self, clients: Option<&'a AuthPlan>) -> Option<&'a AuthPlan> {
        match &self.auth_override {
            AuthOverride::Inherit => clients,
            AuthOverride::Disable => None,
            AuthOverride::Replace(plan) => Some(plan),
        }
    }
}

/// What authenticates a request, in its order.
pub(crate) struct ChosenParts<'a> {
    parts: PartList<'a>,
    /// How many of them have been added.
    added: usize,
}

enum PartList<'a> {
    // Most are, and need no list.
    One(Option<&'a AuthPart>),
    Several(Vec<&'a AuthPart>),
}

impl<'a> ChosenParts<'a> {
    /// What is to be added next.
    fn next(&self) -> Option<&'a AuthPart> {
        let parts = match &self.parts {
            PartList::One(part) => part.as_slice(),
            PartList::Several(parts) => parts,
        };
        parts.get(self.added).copied()
    }
}

/// The authentication of one call: asks the token source what the session wants to be asked.
pub(crate) struct CallAuth<'a> {
    plan: &'a AuthPlan,
    /// The token auth that was chosen last, and what it remembers.
    tokens: Option<(&'a CheckedTokenAuth, AuthSession<'a>)>,
    /// What the attempt under way carries.
    sent: Option<Arc<Credential>>,
    force_renewal: bool,
}

impl<'a> CallAuth<'a> {
    pub(crate) fn new(plan: &'a AuthPlan, force_renewal: bool) -> Self {
        Self { plan, tokens: None, sent: None, force_renewal }
    }

    /// Begins an attempt. It carries nothing so far.
    pub(crate) fn start(&mut self) {
        self.sent = None;
    }

    /// Adds what authenticates a request at a trusted origin. Headers that the caller has set stay as
    /// they are.
    #[cfg(any(feature = "middleware", feature = "tower"))]
    pub(crate) async fn apply(
        &mut self,
        request: &BareRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), AuthenticationError> {
        let mut chosen = self.choose(request, headers);
        while let Some(tokens) = self.add(&mut chosen, request, headers)? {
            self.fetch(tokens).await?;
        }
        Ok(())
    }

    /// What authenticates a request.
    pub(crate) fn choose(&self, request: &BareRequest<'_>, headers: &HeaderMap) -> ChosenParts<'a> {
        let request = request.with(headers);
        let parts = match self.plan {
            AuthPlan::Part(part) => PartList::One(Some(part).filter(|part| part.applies_to(&request))),
            plan => {
                let mut chosen = Vec::new();
                plan.choose(&request, &mut chosen);
                PartList::Several(chosen)
            }
        };
        ChosenParts { parts, added: 0 }
    }

    /// Adds what was chosen, up to where a token has to be [fetched](Self::fetch) first; from there it goes on
    /// when called again. Headers that the caller has set stay as they are.
    pub(crate) fn add(
        &mut self,
        chosen: &mut ChosenParts<'a>,
        request: &BareRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<Option<&'a CheckedTokenAuth>, AuthenticationError> {
        while let Some(part) = chosen.next() {
            match part {
                AuthPart::Fixed { name, value, .. } => {
                    if !request.own.contains_key(name) {
                        headers.insert(name, value.clone());
                    }
                }
                AuthPart::Hook(hook) => {
                    let mut set = apply_hook(&**hook, &request.with(headers))?;
                    for name in request.own.keys() {
                        set.remove(name);
                    }
                    headers.extend(set);
                }
                AuthPart::Tokens(auth) => {
                    if !request.own.contains_key(auth.header_name()) {
                        let Some(credential) = self.sent.take().or_else(|| self.cached_credential(auth))
                        else {
                            return Ok(Some(auth));
                        };
                        auth.apply(&credential, request, headers)?;
                        self.sent = Some(credential);
                    }
                }
            }
            chosen.added += 1;
        }
        Ok(None)
    }

    /// Whether an `AuthHook` of the caller authenticates this call.
    pub(crate) fn has_hook(&self) -> bool {
        self.plan.has_hook()
    }

    /// Adds once more the headers that authenticated this attempt, except for those that an auth hook set.
    pub(crate) fn add_sent(&self, request: &BareRequest<'_>, headers: &mut HeaderMap) {
        let mut chosen = self.choose(request, headers);
        while let Some(part) = chosen.next() {
            match (part, &self.sent) {
                (AuthPart::Fixed { name, value, .. }, _) if !request.own.contains_key(name) => {
                    headers.insert(name, value.clone());
                }
                (AuthPart::Tokens(auth), Some(credential)) => {
                    // `add` applied the same credential to this request before, so this does not fail.
                    let _ = auth.apply(credential, request, headers);
                }
                _ => {}
            }
            chosen.added += 1;
        }
    }

    /// A credential for which nobody has to wait.
    fn cached_credential(&mut self, auth: &'a CheckedTokenAuth) -> Option<Arc<Credential>> {
        let session = match &mut self.tokens {
            Some((last, session)) if std::ptr::eq(*last, auth) => session,
            // What another one remembers, as on the way here through a redirect, is not about these.
            tokens => &mut tokens.insert((auth, auth.session())).1,
        };
        if self.force_renewal { None } else { session.take_renewed().or_else(|| auth.source().cached()) }
    }

    /// Fetches the token that [`add`](Self::add) goes on with. There is one source at most among what is chosen.
    pub(crate) async fn fetch(&mut self, auth: &CheckedTokenAuth) -> Result<(), AuthenticationError> {
        let fetched =
            if self.force_renewal { auth.source().force_refresh() } else { auth.source().get_token() };
        self.sent = Some(fetched.await?);
        // Order: only after a success. A call that retries a failed fetch still wants a new token.
        self.force_renewal = false;
        Ok(())
    }

    /// The header that carries the credential of this attempt, if there is one.
    pub(crate) fn credential_header<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let (auth, _) = self.sent.as_ref().and(self.tokens.as_ref())?;
        headers.get(auth.header_name())
    }

    /// Whether this attempt carries a credential that could be rejected.
    #[cfg(any(feature = "middleware", feature = "tower"))]
    pub(crate) fn has_credential(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether the body must be at hand for [`after`](Self::after).
    pub(crate) fn reads_body(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let session = self.sent.as_ref().and(self.tokens.as_ref());
        session.is_some_and(|(_, session)| session.reads_body(status, headers))
    }

    /// What an answer asks for.
    pub(crate) fn after(&self, response: &ExaminedResponse<'_>) -> Next {
        self.after_verdict(AuthVerdict::of(response.status, response.headers), response)
    }

    /// The same, where another one has judged.
    pub(crate) fn after_verdict(&self, verdict: AuthVerdict, response: &ExaminedResponse<'_>) -> Next {
        match (&self.sent, &self.tokens) {
            (Some(credential), Some((auth, session))) => {
                session.after(credential, verdict, response, auth.source())
            }
            _ => Next::HandOn,
        }
    }

    /// Has the rejected credential renewed, also where the request cannot be sent again: the next one must
    /// not meet the same fate. Says whether to replay.
    ///
    /// # Errors
    ///
    /// The renewal failed. The caller may call this once more. For a request that cannot be sent again, a failed
    /// renewal is `Ok(false)`: the caller gets the answer that came.
    pub(crate) async fn renew(&mut self, can_be_sent_again: bool) -> Result<bool, AuthenticationError> {
        let (Some(rejected), Some((auth, session))) = (self.sent.take(), &mut self.tokens) else {
            return Ok(false);
        };
        match auth.source().refresh_rejected(&rejected).await {
            Ok(renewed) => Ok(session.replay_with(&rejected, renewed) && can_be_sent_again),
            Err(error) if can_be_sent_again => {
                self.sent = Some(rejected);
                Err(error)
            }
            Err(error) => {
                tracing::debug!(%error, "the renewal after a 401 failed; the request cannot be sent again anyway");
                Ok(false)
            }
        }
    }
}
