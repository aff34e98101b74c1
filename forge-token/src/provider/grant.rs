use forge_core::{Secret, SecretSource};

/// A grant of RFC 6749: the parameters with which a client asks for a token.
///
/// The trait is sealed. For a flow of your own, implement [`TokenProvider`](forge_core::TokenProvider).
pub trait Grant: sealed::Sealed + Send + Sync + 'static {
    /// The value of `grant_type`.
    fn grant_type(&self) -> &str;

    /// The other parameters of the token request. `secret` is the value that the provider has read from
    /// [`secret`](Self::secret).
    fn form_fields<'a>(&'a self, secret: Option<&'a Secret>) -> Vec<(&'static str, &'a str)>;

    /// The secret that the grant sends beside the client's, such as the user's password. `None` if it sends none.
    fn secret(&self) -> Option<&SecretSource>;

    /// The name of [`secret`](Self::secret) in errors. Default: `grant_secret`.
    fn secret_field(&self) -> &'static str {
        "grant_secret"
    }

    /// The user for whom the token is. `None` if the token is for the client itself. The user is part of the cache key.
    fn subject(&self) -> Option<&str>;
}

/// The client credentials grant, RFC 6749 4.4.
#[derive(Clone, Debug)]
pub struct ClientCredentialsGrant {
    pub(super) grant_type: String,
}

impl ClientCredentialsGrant {
    pub(super) fn new() -> Self {
        Self { grant_type: "client_credentials".to_owned() }
    }
}

impl Grant for ClientCredentialsGrant {
    fn grant_type(&self) -> &str {
        &self.grant_type
    }

    fn form_fields<'a>(&'a self, _secret: Option<&'a Secret>) -> Vec<(&'static str, &'a str)> {
        Vec::new()
    }

    fn secret(&self) -> Option<&SecretSource> {
        None
    }

    fn subject(&self) -> Option<&str> {
        None
    }
}

/// The password grant, RFC 6749 4.3.
#[derive(Clone, Debug)]
pub struct PasswordGrant {
    username: String,
    password: SecretSource,
}

impl PasswordGrant {
    pub(super) fn new(username: String, password: SecretSource) -> Self {
        Self { username, password }
    }
}

impl Grant for PasswordGrant {
    fn grant_type(&self) -> &'static str {
        "password"
    }

    fn form_fields<'a>(&'a self, secret: Option<&'a Secret>) -> Vec<(&'static str, &'a str)> {
        let mut fields = vec![("username", self.username.as_str())];
        fields.extend(secret.map(|password| ("password", password.expose())));
        fields
    }

    fn secret(&self) -> Option<&SecretSource> {
        Some(&self.password)
    }

    fn secret_field(&self) -> &'static str {
        "password"
    }

    fn subject(&self) -> Option<&str> {
        Some(&self.username)
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ClientCredentialsGrant {}
    impl Sealed for super::PasswordGrant {}
}
