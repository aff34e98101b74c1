use super::TokenAuth;

/// The values that `with_token_auth` takes: a [`TokenAuth`], or a source that needs no settings. Every type
/// that converts into a [`TokenAuth`] implements this trait, so there is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of tokens",
    label = "expected a `TokenManager`, another `TokenSource`, or a `TokenAuth`",
    note = "a `TokenProvider` of your own needs a manager around it: `TokenManager::new(my_provider)`"
)]
pub trait IntoTokenAuth {
    /// Converts the value.
    fn into_token_auth(self) -> TokenAuth;
}

impl<T: Into<TokenAuth>> IntoTokenAuth for T {
    fn into_token_auth(self) -> TokenAuth {
        self.into()
    }
}
