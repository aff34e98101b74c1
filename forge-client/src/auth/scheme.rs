use std::fmt;
use std::sync::Arc;

use forge_core::{AuthenticationError, AuthenticationErrorKind, ConfigError, check_header_name, is_framing};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::bare::BareRequest;
use super::composite::CompositeAuth;
use super::exclusions::Exclusions;
use super::fixed::Fixed;
use super::hook::{AuthHook, AuthRequest};
use super::{BoundTokenAuth, TokenAuth};

/// How requests are authenticated: [`TokenAuth`], [`ApiKeyAuth`](crate::ApiKeyAuth),
/// [`BasicAuth`](crate::BasicAuth), several of them as a [`CompositeAuth`], or an [`AuthHook`] of one's own.
/// All of these convert into it.
///
/// Whichever it is, the headers that it sets go to the origins only that may see the client's credentials;
/// a header that the caller sets on a request stays as it is.
#[derive(Clone)]
pub struct Auth(Kind);

#[derive(Clone)]
pub(super) enum Kind {
    Tokens(TokenAuth),
    Fixed(Fixed),
    Hook(Arc<dyn AuthHook>),
    Composite(CompositeAuth),
}

impl Auth {
    pub(super) fn fixed(fixed: Fixed) -> Self {
        Self(Kind::Fixed(fixed))
    }

    pub(crate) fn build(self) -> Result<Scheme, ConfigError> {
        let scheme = match self.0 {
            Kind::Tokens(auth) => Scheme::Single(Single::Tokens(auth.build()?)),
            Kind::Fixed(auth) => Scheme::Single(auth.build()?),
            Kind::Hook(hook) => Scheme::Single(Single::Hook(hook)),
            Kind::Composite(auth) => auth.build()?,
        };
        scheme.header_names().iter().try_for_each(|name| check_header_name("auth", name))?;
        Ok(scheme)
    }
}

impl From<TokenAuth> for Auth {
    fn from(auth: TokenAuth) -> Self {
        Self(Kind::Tokens(auth))
    }
}

impl From<CompositeAuth> for Auth {
    fn from(auth: CompositeAuth) -> Self {
        Self(Kind::Composite(auth))
    }
}

impl<H: AuthHook + 'static> From<H> for Auth {
    fn from(hook: H) -> Self {
        Self(Kind::Hook(Arc::new(hook)))
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tokens(auth) => auth.fmt(f),
            Kind::Fixed(auth) => auth.fmt(f),
            Kind::Hook(hook) => hook.fmt(f),
            Kind::Composite(auth) => auth.fmt(f),
        }
    }
}

/// An [`Auth`] whose settings were checked.
pub(crate) enum Scheme {
    Single(Single),
    /// The first of them that applies.
    First(Vec<Scheme>),
    /// All of them that apply.
    All(Vec<Scheme>),
}

pub(crate) enum Single {
    Tokens(BoundTokenAuth),
    Fixed { name: HeaderName, value: HeaderValue, exclusions: Exclusions },
    Hook(Arc<dyn AuthHook>),
}

impl Scheme {
    /// Those that go together: each with headers of its own, and one source of tokens among them, so that
    /// a 401 says which one to ask for another.
    pub(crate) fn all(parts: Vec<Self>) -> Result<Self, ConfigError> {
        let mut names: Vec<HeaderName> = Vec::new();
        for part in &parts {
            let others = part.header_names();
            if others.iter().any(|name| names.contains(name)) {
                let expected = "a header of its own for each of those that are sent together";
                return Err(ConfigError::new("auth", expected));
            }
            names.extend(others);
        }
        let all = Self::All(parts);
        if all.most_tokens() > 1 {
            let expected = "one source of tokens among those that are sent together";
            return Err(ConfigError::new("auth", expected));
        }
        Ok(all)
    }

    /// The headers that it may set, in no order.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        match self {
            Self::Single(Single::Tokens(auth)) => vec![auth.header_name().clone()],
            Self::Single(Single::Fixed { name, .. }) => vec![name.clone()],
            Self::Single(Single::Hook(hook)) => hook.header_names(),
            Self::First(parts) | Self::All(parts) => parts.iter().flat_map(Self::header_names).collect(),
        }
    }

    /// How many tokens a request may carry.
    pub(crate) fn most_tokens(&self) -> usize {
        match self {
            Self::Single(single) => usize::from(matches!(single, Single::Tokens(_))),
            Self::First(parts) => parts.iter().map(Self::most_tokens).max().unwrap_or_default(),
            Self::All(parts) => parts.iter().map(Self::most_tokens).sum(),
        }
    }

    /// Whether the caller's own auth hook is part of the scheme.
    pub(crate) fn has_hook(&self) -> bool {
        match self {
            Self::Single(single) => matches!(single, Single::Hook(_)),
            Self::First(parts) | Self::All(parts) => parts.iter().any(Self::has_hook),
        }
    }

    /// The excluded paths and patterns that [match no path](Exclusions::never_matching), as a log shows them.
    pub(crate) fn never_excluded(&self, directory: Option<&str>) -> Vec<String> {
        match self {
            Self::Single(single) => {
                single.exclusions().map(|given| given.never_matching(directory).collect()).unwrap_or_default()
            }
            Self::First(parts) | Self::All(parts) => {
                parts.iter().flat_map(|part| part.never_excluded(directory)).collect()
            }
        }
    }

    /// What authenticates this request, in its order.
    pub(crate) fn choose<'a>(&'a self, request: &AuthRequest<'_>, chosen: &mut Vec<&'a Single>) {
        match self {
            Self::Single(single) if single.applies_to(request) => chosen.push(single),
            Self::Single(_) => {}
            Self::First(parts) => {
                if let Some(first) = parts.iter().find(|part| part.applies_to(request)) {
                    first.choose(request, chosen);
                }
            }
            Self::All(parts) => parts.iter().for_each(|part| part.choose(request, chosen)),
        }
    }

    /// Adds what would authenticate this request, as far as it is at hand; where a token has to be fetched,
    /// or a hook fails, a mask stands for it.
    pub(crate) fn show(&self, request: &BareRequest<'_>, headers: &mut HeaderMap) {
        let mut chosen = Vec::new();
        self.choose(&request.with(headers), &mut chosen);
        for single in chosen {
            let set = single.shown(request, headers);
            for (name, value) in set.iter().filter(|(name, _)| !request.own.contains_key(*name)) {
                headers.insert(name, value.clone());
            }
        }
    }

    fn applies_to(&self, request: &AuthRequest<'_>) -> bool {
        match self {
            Self::Single(single) => single.applies_to(request),
            Self::First(parts) | Self::All(parts) => parts.iter().any(|part| part.applies_to(request)),
        }
    }
}

impl Single {
    fn shown(&self, request: &BareRequest<'_>, headers: &HeaderMap) -> HeaderMap {
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
            Self::Hook(hook) => apply_hook(&**hook, &request.with(headers)).map(|shown| set = shown).is_ok(),
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
            Self::Tokens(auth) => !auth.exclusions().hold(request.path),
            Self::Fixed { exclusions, .. } => !exclusions.hold(request.path),
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

/// What a hook sets: under the names it has told only, and the caller's own headers stay.
pub(super) fn apply_hook(
    hook: &dyn AuthHook,
    request: &AuthRequest<'_>,
) -> Result<HeaderMap, AuthenticationError> {
    let mut set = hook.authenticate(request)?;
    let names = hook.header_names();
    if set.keys().any(|name| !names.contains(name) || is_framing(name)) {
        return Err(AuthenticationError::new("", AuthenticationErrorKind::Configuration).with_message(
            "an authentication hook set a header that is not among its `header_names`, or may not be",
        ));
    }
    for value in set.values_mut() {
        value.set_sensitive(true);
    }
    Ok(set)
}
