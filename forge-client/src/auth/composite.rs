use forge_core::ConfigError;

use super::Auth;
use super::plan::AuthPlan;

/// Several kinds of authentication: the first that applies to a request, or all that do.
///
/// Excluded paths, or [`AuthHook::applies_to`](crate::AuthHook::applies_to), decide whether a part applies. If
/// the part that applies gets no token, the client does not send the request, and does not try the next part.
///
/// ```
/// use requestforge::{ApiKeyAuth, BasicAuth, CompositeAuth, HttpClient, TokenAuth};
/// # fn run(manager: impl requestforge::TokenSource + 'static) -> Result<(), requestforge::HttpClientError> {
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
#[doc(alias = "CompositeAuthHook")]
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
    /// Only the first part that applies authenticates a request.
    pub fn first() -> Self {
        Self { parts: Vec::new(), combination: Combination::First }
    }

    /// All parts that apply authenticate a request, in their order. Each must have headers of its own. At most
    /// one may take tokens from a source, because a 401 does not say which token the server rejected.
    pub fn all() -> Self {
        Self { parts: Vec::new(), combination: Combination::All }
    }

    /// Adds a part.
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
