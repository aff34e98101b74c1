use std::time::Duration;

use forge_core::ConfigError;

use crate::auth::AuthPlan;

/// The options of a call, which its request sets.
#[derive(Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) total_timeout: Option<Duration>,
    pub(crate) retry_any_method: bool,
    pub(crate) auth: AuthOptions,
}

/// The options of a call's authentication.
#[derive(Default)]
pub(crate) struct AuthOptions {
    pub(crate) auth_override: AuthOverride,
    /// Whether the call fetches a new token.
    pub(crate) force_renewal: bool,
}

/// The authentication of a request: the client's or another one.
#[derive(Default)]
pub(crate) enum AuthOverride {
    /// The client's authentication.
    #[default]
    Inherit,
    /// Nothing.
    Disable,
    /// The request's own authentication.
    Replace(Box<AuthPlan>),
}

impl AuthOptions {
    /// Refuses options that cannot be fulfilled, before anything is sent.
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
