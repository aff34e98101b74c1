//! What a request carries to prove who sends it, and what its answer says of that.

mod call;
mod exclusions;
mod rejection;
mod session;
mod strategy;
mod token_auth;

pub(crate) use call::CallAuth;
pub(crate) use session::{AuthSession, Next};
pub(crate) use token_auth::BoundTokenAuth;

pub use strategy::{
    AuthRetryStrategy, ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy,
};
pub use token_auth::TokenAuth;
