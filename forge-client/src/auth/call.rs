use std::sync::Arc;

use forge_core::{AuthVerdict, AuthenticationError, ConfigError, Credential};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::bare::BareRequest;
use super::scheme::{Scheme, Single, apply_hook};
use super::{AuthSession, BoundTokenAuth, Next};
use crate::ExaminedResponse;

/// What a request says of its authentication.
#[derive(Default)]
pub(crate) struct CallAuthOptions {
    pub(crate) instead: Instead,
    /// A new token is fetched for it.
    pub(crate) force_renewal: bool,
}

/// What authenticates a request instead of the client's authentication.
#[derive(Default)]
pub(crate) enum Instead {
    #[default]
    Same,
    Nothing,
    Other(Box<Scheme>),
}

impl CallAuthOptions {
    /// What must hold before anything is sent.
    pub(crate) fn check(&self, clients: Option<&Scheme>, is_trusted: bool) -> Result<(), ConfigError> {
        if matches!(self.instead, Instead::Other(_)) && !is_trusted {
            let expected = "a URL at the base URL's origin, or at one named by `with_credential_origin`";
            return Err(ConfigError::new("auth", expected));
        }
        if self.force_renewal && self.scheme(clients).is_none_or(|scheme| scheme.most_tokens() == 0) {
            return Err(ConfigError::new("force_renewal", "authentication with tokens from a source"));
        }
        Ok(())
    }

    /// How a call is authenticated, if at all.
    pub(crate) fn scheme<'a>(&'a self, clients: Option<&'a Scheme>) -> Option<&'a Scheme> {
        match &self.instead {
            Instead::Same => clients,
            Instead::Nothing => None,
            Instead::Other(scheme) => Some(scheme),
        }
    }
}

/// What authenticates a request, in its order.
pub(crate) struct Chosen<'a> {
    parts: Parts<'a>,
    /// How many of them have been added.
    added: usize,
}

enum Parts<'a> {
    // Most are, and need no list.
    One(Option<&'a Single>),
    Several(Vec<&'a Single>),
}

impl<'a> Chosen<'a> {
    /// What is to be added next.
    fn next(&self) -> Option<&'a Single> {
        let parts = match &self.parts {
            Parts::One(single) => single.as_slice(),
            Parts::Several(singles) => singles,
        };
        parts.get(self.added).copied()
    }
}

/// The authentication of one call: asks the token source what the session wants to be asked.
pub(crate) struct CallAuth<'a> {
    scheme: &'a Scheme,
    /// The token auth that was chosen last, and what it remembers.
    tokens: Option<(&'a BoundTokenAuth, AuthSession<'a>)>,
    /// What the attempt under way carries.
    sent: Option<Arc<Credential>>,
    force_renewal: bool,
}

impl<'a> CallAuth<'a> {
    pub(crate) fn new(scheme: &'a Scheme, force_renewal: bool) -> Self {
        Self { scheme, tokens: None, sent: None, force_renewal }
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
    pub(crate) fn choose(&self, request: &BareRequest<'_>, headers: &HeaderMap) -> Chosen<'a> {
        let request = request.with(headers);
        let parts = match self.scheme {
            Scheme::Single(single) => Parts::One(Some(single).filter(|single| single.applies_to(&request))),
            scheme => {
                let mut chosen = Vec::new();
                scheme.choose(&request, &mut chosen);
                Parts::Several(chosen)
            }
        };
        Chosen { parts, added: 0 }
    }

    /// Adds what was chosen, up to where a token has to be [fetched](Self::fetch) first; from there it goes on
    /// when called again. Headers that the caller has set stay as they are.
    pub(crate) fn add(
        &mut self,
        chosen: &mut Chosen<'a>,
        request: &BareRequest<'_>,
        headers: &mut HeaderMap,
    ) -> Result<Option<&'a BoundTokenAuth>, AuthenticationError> {
        while let Some(single) = chosen.next() {
            match single {
                Single::Fixed { name, value, .. } => {
                    if !request.own.contains_key(name) {
                        headers.insert(name, value.clone());
                    }
                }
                Single::Hook(hook) => {
                    let mut set = apply_hook(&**hook, &request.with(headers))?;
                    for name in request.own.keys() {
                        set.remove(name);
                    }
                    headers.extend(set);
                }
                Single::Tokens(auth) => {
                    if !request.own.contains_key(auth.header_name()) {
                        let Some(credential) = self.sent.take().or_else(|| self.at_hand(auth)) else {
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
        self.scheme.has_hook()
    }

    /// Adds once more the headers that authenticated this attempt, except for those that an auth hook set.
    pub(crate) fn add_sent(&self, request: &BareRequest<'_>, headers: &mut HeaderMap) {
        let mut chosen = self.choose(request, headers);
        while let Some(single) = chosen.next() {
            match (single, &self.sent) {
                (Single::Fixed { name, value, .. }, _) if !request.own.contains_key(name) => {
                    headers.insert(name, value.clone());
                }
                (Single::Tokens(auth), Some(credential)) => {
                    // `add` applied the same credential to this request before, so this does not fail.
                    let _ = auth.apply(credential, request, headers);
                }
                _ => {}
            }
            chosen.added += 1;
        }
    }

    /// A credential for which nobody has to wait.
    fn at_hand(&mut self, auth: &'a BoundTokenAuth) -> Option<Arc<Credential>> {
        let session = match &mut self.tokens {
            Some((last, session)) if std::ptr::eq(*last, auth) => session,
            // What another one remembers, as on the way here through a redirect, is not about these.
            tokens => &mut tokens.insert((auth, auth.session())).1,
        };
        if self.force_renewal { None } else { session.take_renewed().or_else(|| auth.source().cached()) }
    }

    /// Fetches the token that [`add`](Self::add) goes on with. There is one source at most among what is chosen.
    pub(crate) async fn fetch(&mut self, auth: &BoundTokenAuth) -> Result<(), AuthenticationError> {
        let fetched =
            if self.force_renewal { auth.source().force_refresh() } else { auth.source().get_token() };
        self.sent = Some(fetched.await?);
        // Order: only after a success. A call that retries a failed fetch still wants a new token.
        self.force_renewal = false;
        Ok(())
    }

    /// The header that carries the credential of this attempt, if there is one.
    pub(crate) fn carrying<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let (auth, _) = self.sent.as_ref().and(self.tokens.as_ref())?;
        headers.get(auth.header_name())
    }

    /// Whether this attempt carries a credential that could be rejected.
    #[cfg(any(feature = "middleware", feature = "tower"))]
    pub(crate) fn is_carried(&self) -> bool {
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
