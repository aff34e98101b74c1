//! What a request carries to prove who sends it, and what its answer says of that.

mod bare;
mod call;
mod composite;
mod exclusions;
mod fixed_header;
mod hook;
mod plan;
mod session;
mod strategy;
mod token_auth;

pub(crate) use bare::BareRequest;
pub(crate) use call::{AuthOverride, CallAuth, CallAuthOptions};
pub(crate) use fixed_header::FixedHeader;
pub(crate) use plan::AuthPlan;
pub(crate) use session::{Next, ReplaySchedule};

pub use composite::CompositeAuth;
pub use fixed_header::{ApiKeyAuth, BasicAuth};
pub use hook::{AuthHook, AuthRequest};
pub use plan::Auth;
pub use strategy::{
    AuthRetryStrategy, ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy,
};
pub use token_auth::TokenAuth;

use session::AuthSession;
use token_auth::CheckedTokenAuth;
