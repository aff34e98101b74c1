use std::time::Duration;

use forge_core::ConfigError;

use crate::auth::AuthPlan;

/// The options that a request sets for its call.
#[derive(Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) retry_any_method: bool,
    pub(crate) auth: AuthOptions,
}

/// How a request changes the authentication of its call.
#[derive(Default)]
pub(crate) struct AuthOptions {
    pub(crate) auth_override: AuthOverride,
    /// Whether the call fetches a new token even if the source has a valid one.
    pub(crate) force_renewal: bool,
}

/// The choice between the client's authentication, another one and none.
#[derive(Default)]
pub(crate) enum AuthOverride {
    /// Use the client's authentication.
    #[default]
    Inherit,
    /// Add no credentials.
    Disable,
    /// Use this authentication instead of the client's.
    Replace(Box<AuthPlan>),
}

impl AuthOptions {
    /// Checks that the call can fulfil its options. The client calls this before it sends anything.
    ///
    /// # Errors
    ///
    /// The request has its own authentication for an origin that must not see credentials, or it forces a renewal
    /// and its authentication has no tokens from a source.
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

    /// The authentication of the call, if it has one. `clients` is the client's.
    pub(crate) fn plan<'a>(&'a self, clients: Option<&'a AuthPlan>) -> Option<&'a AuthPlan> {
        match &self.auth_override {
            AuthOverride::Inherit => clients,
            AuthOverride::Disable => None,
            AuthOverride::Replace(plan) => Some(plan),
        }
    }
}
