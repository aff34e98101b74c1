use std::fmt;
use std::sync::Arc;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ConfigError, check_header_name, is_framing};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::composite::CompositeAuth;
use super::exclusions::Exclusions;
use super::fixed_header::FixedHeader;
use super::hook::{AuthHook, AuthRequest};
use super::{CheckedTokenAuth, TokenAuth};

/// The authentication of requests: [`TokenAuth`], [`ApiKeyAuth`](crate::ApiKeyAuth),
/// [`BasicAuth`](crate::BasicAuth), several of them as a [`CompositeAuth`], or an [`AuthHook`] of your own.
/// All of these convert into it.
///
/// Only origins that may see the client's credentials get the headers of any of them. A header that the caller
/// sets on a request stays as it is.
#[derive(Clone)]
pub struct Auth(AuthKind);

#[derive(Clone)]
pub(super) enum AuthKind {
    Tokens(TokenAuth),
    Fixed(FixedHeader),
    Hook(Arc<dyn AuthHook>),
    Composite(CompositeAuth),
}

impl Auth {
    pub(super) fn fixed(fixed: FixedHeader) -> Self {
        Self(AuthKind::Fixed(fixed))
    }

    pub(crate) fn build(self) -> Result<AuthPlan, ConfigError> {
        let plan = match self.0 {
            AuthKind::Tokens(auth) => AuthPlan::Part(AuthPart::Tokens(auth.build()?)),
            AuthKind::Fixed(auth) => AuthPlan::Part(auth.build()?),
            AuthKind::Hook(hook) => AuthPlan::Part(AuthPart::Hook(hook)),
            AuthKind::Composite(auth) => auth.build()?,
        };
        plan.header_names().iter().try_for_each(|name| check_header_name("auth", name))?;
        Ok(plan)
    }
}

impl From<TokenAuth> for Auth {
    fn from(auth: TokenAuth) -> Self {
        Self(AuthKind::Tokens(auth))
    }
}

impl From<CompositeAuth> for Auth {
    fn from(auth: CompositeAuth) -> Self {
        Self(AuthKind::Composite(auth))
    }
}

impl<H: AuthHook + 'static> From<H> for Auth {
    fn from(hook: H) -> Self {
        Self(AuthKind::Hook(Arc::new(hook)))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            AuthKind::Tokens(auth) => auth.fmt(f),
            AuthKind::Fixed(auth) => auth.fmt(f),
            AuthKind::Hook(hook) => hook.fmt(f),
            AuthKind::Composite(auth) => auth.fmt(f),
        }
    }
}

/// An [`Auth`] whose settings were checked.
pub(crate) enum AuthPlan {
    Part(AuthPart),
    /// The first of them that applies.
    First(Vec<AuthPlan>),
    /// All of them that apply.
    All(Vec<AuthPlan>),
}

pub(crate) enum AuthPart {
    Tokens(CheckedTokenAuth),
    Fixed { name: HeaderName, value: HeaderValue, exclusions: Exclusions },
    Hook(Arc<dyn AuthHook>),
}

impl AuthPlan {
    /// Parts that authenticate a request together. Each must have headers of its own. At most one of them may
    /// take tokens from a source, because a 401 does not say which token the server rejected.
    pub(crate) fn all(parts: Vec<Self>) -> Result<Self, ConfigError> {
        let mut names: Vec<HeaderName> = Vec::new();
        for part in &parts {
            let others = part.header_names();
            if others.iter().any(|name| names.contains(name)) {
                let expected = "a header of its own for each part of the authentication";
                return Err(ConfigError::new("auth", expected));
            }
            names.extend(others);
        }
        let all = Self::All(parts);
        if all.max_tokens() > 1 {
            let expected = "at most one part with tokens from a source";
            return Err(ConfigError::new("auth", expected));
        }
        Ok(all)
    }

    /// The headers that the plan may set, in no order.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        match self {
            Self::Part(AuthPart::Tokens(auth)) => vec![auth.header_name().clone()],
            Self::Part(AuthPart::Fixed { name, .. }) => vec![name.clone()],
            Self::Part(AuthPart::Hook(hook)) => hook.header_names(),
            Self::First(parts) | Self::All(parts) => parts.iter().flat_map(Self::header_names).collect(),
        }
    }

    /// How many tokens a request may carry.
    pub(crate) fn max_tokens(&self) -> usize {
        match self {
            Self::Part(part) => usize::from(matches!(part, AuthPart::Tokens(_))),
            Self::First(parts) => parts.iter().map(Self::max_tokens).max().unwrap_or_default(),
            Self::All(parts) => parts.iter().map(Self::max_tokens).sum(),
        }
    }

    /// Whether the caller's own auth hook is part of the plan.
    pub(crate) fn has_hook(&self) -> bool {
        match self {
            Self::Part(part) => matches!(part, AuthPart::Hook(_)),
            Self::First(parts) | Self::All(parts) => parts.iter().any(Self::has_hook),
        }
    }

    /// The excluded paths and patterns that [match no path](Exclusions::ineffective), as a log shows them.
    pub(crate) fn ineffective_exclusions(&self, directory: Option<&str>) -> Vec<String> {
        match self {
            Self::Part(part) => {
                part.exclusions().map(|given| given.ineffective(directory).collect()).unwrap_or_default()
            }
            Self::First(parts) | Self::All(parts) => {
                parts.iter().flat_map(|part| part.ineffective_exclusions(directory)).collect()
            }
        }
    }

    /// Adds the parts that authenticate this request to `chosen`, in their order.
    pub(crate) fn choose<'a>(&'a self, request: &AuthRequest<'_>, chosen: &mut Vec<&'a AuthPart>) {
        match self {
            Self::Part(part) if part.applies_to(request) => chosen.push(part),
            Self::Part(_) => {}
            Self::First(parts) => {
                if let Some(first) = parts.iter().find(|part| part.applies_to(request)) {
                    first.choose(request, chosen);
                }
            }
            Self::All(parts) => parts.iter().for_each(|part| part.choose(request, chosen)),
        }
    }

    /// Adds the headers that would authenticate this request. A mask replaces a token that is not cached, and
    /// the headers of a hook that fails.
    pub(crate) fn show(&self, request: &AuthRequest<'_>, headers: &mut HeaderMap) {
        let mut chosen = Vec::new();
        self.choose(&request.with_headers(headers), &mut chosen);
        for part in chosen {
            let set = part.shown(request, headers);
            for (name, value) in set.iter().filter(|(name, _)| !request.headers.contains_key(*name)) {
                headers.insert(name, value.clone());
            }
        }
    }

    fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        match self {
            Self::Part(part) => part.applies_to(request),
            Self::First(parts) | Self::All(parts) => parts.iter().any(|part| part.applies_to(request)),
        }
    }
}

impl AuthPart {
    fn shown(&self, request: &AuthRequest<'_>, headers: &HeaderMap) -> HeaderMap {
        let mut set = HeaderMap::new();
        let complete = match self {
            Self::Tokens(auth) => match auth.source().cached() {
                Some(credential) => auth.apply(&credential, request, &mut set).is_ok(),
                None => false,
            },
            Self::Fixed { name, value, .. } => {
                set.insert(name, value.clone());
                true
            }
            Self::Hook(hook) => {
                apply_hook(&**hook, &request.with_headers(headers)).map(|shown| set = shown).is_ok()
            }
        };
        if !complete {
            let names = match self {
                Self::Tokens(auth) => vec![auth.header_name().clone()],
                Self::Fixed { .. } => Vec::new(),
                Self::Hook(hook) => hook.header_names(),
            };
            set.extend(names.into_iter().map(|name| (name, HeaderValue::from_static("***"))));
        }
        set
    }

    pub(super) fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        match self {
            Self::Tokens(auth) => !auth.exclusions().contains(request.path),
            Self::Fixed { exclusions, .. } => !exclusions.contains(request.path),
            Self::Hook(hook) => hook.applies_to(request),
        }
    }

    fn exclusions(&self) -> Option<&Exclusions> {
        match self {
            Self::Tokens(auth) => Some(auth.exclusions()),
            Self::Fixed { exclusions, .. } => Some(exclusions),
            Self::Hook(_) => None,
        }
    }
}

/// The headers that a hook sets, marked as sensitive. It must have announced their names.
pub(super) fn apply_hook(
    hook: &dyn AuthHook,
    request: &AuthRequest<'_>,
) -> Result<HeaderMap, AuthenticationError> {
    let mut set = hook.authenticate(request)?;
    let names = hook.header_names();
    if set.keys().any(|name| !names.contains(name) || is_framing(name)) {
        return Err(AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(
            "an authentication hook set a header that is not among its `header_names`, or that no hook may set",
        ));
    }
    for value in set.values_mut() {
        value.set_sensitive(true);
    }
    Ok(set)
}
