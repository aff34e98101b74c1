//! Authentication: the credentials that a request carries, and what a response says of them.
//!
//! [`Auth`] is what users configure. [`AuthPlan`] is the same with checked settings. [`AuthSession`] uses a
//! plan for one call.

mod chosen_parts;
mod composite;
mod exclusions;
mod fixed_header;
mod hook;
mod into_token_auth;
mod plan;
mod renew;
mod replay;
mod session;
mod session_config;
mod strategy;
mod token_auth;
mod token_call;
mod warnings;

pub(crate) use fixed_header::FixedHeader;
pub(crate) use plan::AuthPlan;
pub(crate) use warnings::{warn_about_exclusions, warn_about_plain_http};

pub use composite::CompositeAuth;
pub use fixed_header::{ApiKeyAuth, BasicAuth};
pub use hook::{AuthHook, AuthRequest};
pub use into_token_auth::IntoTokenAuth;
pub use plan::Auth;
pub use replay::ReplaySchedule;
pub use session::{AuthSession, NextStep};
pub use session_config::{AuthSessionConfig, AuthSessionConfigBuilder};
pub use strategy::{
    AuthRetryStrategy, ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy,
};
pub use token_auth::TokenAuth;
pub use token_call::{TokenFetch, TokenRenewal};

use token_auth::CheckedTokenAuth;
