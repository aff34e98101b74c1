use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Clock, Secret, SystemClock, TokenData};

/// The input of a pipeline step: the tokens of the steps that it depends on, by their names.
///
/// ```
/// use requestforge::{FetchContext, TokenData};
///
/// let context = FetchContext::new().with_token("app_token", TokenData::new("abc"));
/// assert!(context.has_valid_token("app_token"));
/// assert_eq!(context.get_token_value("app_token").unwrap().expose(), "abc");
/// assert!(context.get_token("user_token").is_none());
/// ```
#[derive(Clone)]
pub struct FetchContext {
    tokens: BTreeMap<String, TokenData>,
    clock: Arc<dyn Clock>,
}

impl FetchContext {
    /// A context without tokens, for a test of your own fetcher. In a running program the pipeline makes the contexts.
    #[must_use]
    pub fn new() -> Self {
        Self { tokens: BTreeMap::new(), clock: Arc::new(SystemClock) }
    }

    /// Adds the token of a step.
    #[must_use]
    pub fn with_token(mut self, step: impl Into<String>, token: TokenData) -> Self {
        self.tokens.insert(step.into(), token);
        self
    }

    /// Sets the clock by which tokens expire. Default: the machine's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The token of a step. `None` if the context has none.
    #[must_use]
    pub fn get_token(&self, step: &str) -> Option<&TokenData> {
        self.tokens.get(step)
    }

    /// The access token of a step, without the rest of the token data.
    #[must_use]
    pub fn get_token_value(&self, step: &str) -> Option<Secret> {
        self.get_token(step).map(|token| Secret::from(token.access_token()))
    }

    /// Whether the context has a token of this step.
    #[must_use]
    pub fn has_token(&self, step: &str) -> bool {
        self.tokens.contains_key(step)
    }

    /// Whether the context has a token of this step that has not expired.
    #[must_use]
    pub fn has_valid_token(&self, step: &str) -> bool {
        self.get_token(step).is_some_and(|token| !token.is_expired_at(self.clock.now().wall()))
    }

    /// All tokens, with the names of their steps.
    pub fn tokens(&self) -> impl Iterator<Item = (&str, &TokenData)> {
        self.tokens.iter().map(|(step, token)| (step.as_str(), token))
    }
}

impl Default for FetchContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FetchContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.tokens).finish()
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ClockReading;

    #[test]
    fn a_token_that_expires_by_the_given_clock_is_not_valid() {
        #[derive(Debug)]
        struct FixedClock;
        impl Clock for FixedClock {
            fn now(&self) -> ClockReading {
                ClockReading::from_millis(1_000_000, 0)
            }
        }
        let expiring = |at| TokenData::new("t").with_expires_at(DateTime::from_timestamp(at, 0).unwrap());
        let context =
            FetchContext::new().with_token("over", expiring(1_000)).with_token("good", expiring(2_000));
        let context = context.with_clock(Arc::new(FixedClock));
        assert!(context.has_token("over") && !context.has_valid_token("over"));
        assert!(context.has_valid_token("good") && !context.has_valid_token("none"));
    }

    #[test]
    fn inv16_debug_shows_no_token() {
        let context = FetchContext::new().with_token("app_token", TokenData::new("canary"));
        let shown = format!("{context:?}");
        assert!(shown.contains("app_token") && !shown.contains("canary"), "{shown}");
    }
}
