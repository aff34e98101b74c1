//! What a request carries to prove who sends it, and what its answer says of that.

mod bare;
mod call;
mod composite;
mod exclusions;
mod fixed;
mod hook;
mod scheme;
mod session;
mod strategy;
mod token_auth;

pub(crate) use bare::BareRequest;
pub(crate) use call::{CallAuth, CallAuthOptions, Instead};
pub(crate) use fixed::Fixed;
pub(crate) use scheme::Scheme;
pub(crate) use session::{Next, ReplaySchedule};

pub use composite::CompositeAuth;
pub use fixed::{ApiKeyAuth, BasicAuth};
pub use hook::{AuthHook, AuthRequest};
pub use scheme::Auth;
pub use strategy::{
    AuthRetryStrategy, ConditionalAuthRetryStrategy, ExponentialAuthRetryStrategy, SimpleAuthRetryStrategy,
};
pub use token_auth::TokenAuth;

use session::AuthSession;
use token_auth::BoundTokenAuth;
