//! Settings of a step whose token stands in the body.

use forge_core::TimeFormat;

use super::HttpTokenFetcherBuilder;
use crate::fetcher::{HttpTokenFetcher, InBody};

impl HttpTokenFetcher<InBody> {
    /// A step of this name that calls an endpoint below a base URL. Everything else has a default.
    ///
    /// ```
    /// use forge_pipeline::BodyTokenFetcher;
    ///
    /// let user_token = BodyTokenFetcher::builder("user_token", "https://auth.example.com", "/v1/user/token")
    ///     .request_data([("username", "user@example.com"), ("password", "password123")])
    ///     .depends_on(["app_token"])
    ///     .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
    ///     .token_field("/data/token")
    ///     .build()?;
    /// # Ok::<_, forge_core::ConfigError>(())
    /// ```
    pub fn builder(
        name: impl Into<String>,
        base_url: impl Into<String>,
        endpoint: impl Into<String>,
    ) -> HttpTokenFetcherBuilder<InBody> {
        HttpTokenFetcherBuilder::new(name.into(), base_url.into(), endpoint.into(), InBody::default())
    }
}

impl HttpTokenFetcherBuilder<InBody> {
    /// Where the token stands: the name of a field, or, if it begins with `/`, a JSON pointer (RFC 6901), as
    /// in `/data/token`. So do the other fields.
    pub fn token_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.access_token = field.into().into())
    }

    /// Where the token's type stands.
    pub fn token_type_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.token_type = field.into().into())
    }

    /// The type of a token whose answer names none: the first word of the `Authorization` header.
    pub fn default_token_type(self, token_type: impl Into<String>) -> Self {
        let token_type = token_type.into();
        self.check_token_type("default_token_type", &token_type)
            .with(|body| body.fields.default_token_type = token_type.into())
    }

    /// Where the lifetime in seconds stands. A missing one means that the token does not expire.
    pub fn expires_in_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.expires_in = field.into().into())
    }

    /// Where the moment of expiry stands, and how it is written, for answers that state no lifetime. Then
    /// `expires_in_field` is not looked at.
    pub fn expires_at_field(self, field: impl Into<String>, format: TimeFormat) -> Self {
        self.with(|body| body.fields.expires_at = Some((field.into().into(), format)))
    }

    /// Where the refresh token stands. Pipelines send none: it is for later steps, and for who gets the
    /// token.
    pub fn refresh_token_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.refresh_token = field.into().into())
    }
}
