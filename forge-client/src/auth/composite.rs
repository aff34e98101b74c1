use forge_core::ConfigError;

use super::Auth;
use super::plan::AuthPlan;

/// Several kinds of authentication: the first that applies to a request, or all that do.
///
/// Whether one applies is a matter of its excluded paths, or of
/// [`AuthHook::applies_to`](crate::AuthHook::applies_to). If no token can be had from the one that does,
/// the request is not sent: there is no falling back to the next.
///
/// ```
/// use forge_client::{ApiKeyAuth, BasicAuth, CompositeAuth, HttpClient, TokenAuth};
/// # fn run(manager: impl forge_core::TokenSource + 'static) -> Result<(), forge_client::HttpClientError> {
/// // An API key everywhere, and besides it a token, or below /admin/ a password.
/// let auth = CompositeAuth::all()
///     .with(ApiKeyAuth::new("your-key"))
///     .with(
///         CompositeAuth::first()
///             .with(TokenAuth::new(manager).excluded_path_patterns(["/admin/*"]))
///             .with(BasicAuth::new("admin", "password")),
///     );
/// let client = HttpClient::builder("https://api.example.com").with_auth(auth).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CompositeAuth {
    parts: Vec<Auth>,
    combination: Combination,
}

#[derive(Clone, Copy, Debug)]
enum Combination {
    First,
    All,
}

impl CompositeAuth {
    /// The first part that applies authenticates a request, and no other.
    pub fn first() -> Self {
        Self { parts: Vec::new(), combination: Combination::First }
    }

    /// All parts that apply do, in their order. Each has headers of its own, and no more than one of them
    /// takes tokens from a source: it is the one to be asked for another after a 401.
    pub fn all() -> Self {
        Self { parts: Vec::new(), combination: Combination::All }
    }

    /// One more part.
    pub fn with(mut self, auth: impl Into<Auth>) -> Self {
        self.parts.push(auth.into());
        self
    }

    pub(super) fn build(self) -> Result<AuthPlan, ConfigError> {
        let parts: Vec<_> = self.parts.into_iter().map(Auth::build).collect::<Result<_, _>>()?;
        match self.combination {
            _ if parts.is_empty() => Err(ConfigError::new("auth", "at least one part of a `CompositeAuth`")),
            Combination::First => Ok(AuthPlan::First(parts)),
            Combination::All => AuthPlan::all(parts),
        }
    }
}
