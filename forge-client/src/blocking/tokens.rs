use std::sync::Arc;
use std::time::Duration;

use forge_core::{AuthenticationError, Credential, TokenSource};

use super::runtime;

/// A token manager, or any other [`TokenSource`], for programs without `async`.
///
/// A [client](super::HttpClient) takes the source itself. Use this type if you need the token.
///
/// ```no_run
/// # fn run(manager: impl requestforge::TokenSource + Clone + 'static) -> Result<(), Box<dyn std::error::Error>> {
/// use requestforge::blocking::{HttpClient, Tokens};
///
/// let client = HttpClient::builder("https://api.example.com").with_token_auth(manager.clone()).build()?;
/// let tokens = Tokens::new(manager);
/// println!("expires at {:?}", tokens.get_token()?.expires_at());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// The methods return the errors of the source. [Within a runtime](super#where-it-is-refused) they return
/// errors, too.
#[derive(Clone, Debug)]
pub struct Tokens<S> {
    source: S,
}

impl<S: TokenSource> Tokens<S> {
    /// The tokens of this source.
    pub fn new(source: S) -> Self {
        Self { source }
    }

    /// The source.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// As [`TokenSource::get_token`].
    ///
    /// # Errors
    ///
    /// The source got no token.
    pub fn get_token(&self) -> Result<Arc<Credential>, AuthenticationError> {
        runtime::block_on(self.source.get_token())?
    }

    /// As [`TokenSource::invalidate_token`].
    ///
    /// # Errors
    ///
    /// The shared storage could not be reached.
    pub fn invalidate_token(&self) -> Result<(), AuthenticationError> {
        runtime::block_on(self.source.invalidate_token())?
    }

    /// As [`TokenSource::force_refresh`].
    ///
    /// # Errors
    ///
    /// The source got no token.
    pub fn force_refresh(&self) -> Result<Arc<Credential>, AuthenticationError> {
        runtime::block_on(self.source.force_refresh())?
    }

    /// As [`TokenSource::refresh_rejected`].
    ///
    /// # Errors
    ///
    /// The renewal failed.
    pub fn refresh_rejected(
        &self,
        rejected: &Credential,
    ) -> Result<Option<Arc<Credential>>, AuthenticationError> {
        runtime::block_on(self.source.refresh_rejected(rejected))?
    }

    /// As [`TokenSource::mark_rejected`].
    pub fn mark_rejected(&self, rejected: &Credential) {
        self.source.mark_rejected(rejected);
    }

    /// As [`TokenSource::next_renewal_in`].
    pub fn next_renewal_in(&self) -> Option<Duration> {
        self.source.next_renewal_in()
    }
}
