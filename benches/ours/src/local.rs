//! Tokens that cost nothing to get, where getting them is not what is measured.

use std::time::Duration;

use requestforge::{AuthenticationError, TokenData, TokenProvider, async_trait};

/// As long as the tokens of many servers.
const LENGTH: usize = 40;
const LIFETIME: Duration = Duration::from_secs(3_600);

/// A provider that makes its tokens up, another one each time.
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

/// A token that nobody has seen before.
pub(crate) fn token(lifetime: Duration) -> TokenData {
    TokenData::new(text()).with_expires_in(lifetime)
}

/// What a token may look like.
pub(crate) fn text() -> String {
    std::iter::repeat_with(fastrand::alphanumeric).take(LENGTH).collect()
}
