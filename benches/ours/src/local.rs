//! Tokens without a token call, for suites that do not measure token calls.

use std::time::Duration;

use requestforge::{AuthenticationError, TokenData, TokenProvider, async_trait};

/// As long as the tokens of many servers.
const LENGTH: usize = 40;
const LIFETIME: Duration = Duration::from_secs(3_600);

/// A provider that makes up a new token each time.
pub(crate) struct Local;

#[async_trait]
impl TokenProvider for Local {
    fn service_name(&self) -> &'static str {
        "local"
    }

    async fn fetch_token(&self) -> Result<TokenData, AuthenticationError> {
        Ok(token(LIFETIME))
    }
}

/// A new random token.
pub(crate) fn token(lifetime: Duration) -> TokenData {
    TokenData::new(text()).with_expires_in(lifetime)
}

/// A random text in the form of a token.
pub(crate) fn text() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(LENGTH).collect()
}
