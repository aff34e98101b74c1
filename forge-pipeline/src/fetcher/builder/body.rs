//! Settings of a step whose response has its token in the body.

use forge_core::TimeFormat;

use super::HttpTokenFetcherBuilder;
use crate::fetcher::{HttpTokenFetcher, InBody};

impl HttpTokenFetcher<InBody> {
    /// A step with this name that calls an endpoint below a base URL. All other settings have a default.
    ///
    /// ```
    /// use requestforge::BodyTokenFetcher;
    ///
    /// let user_token = BodyTokenFetcher::builder("user_token", "https://auth.example.com", "/v1/user/token")
    ///     .request_data([("username", "user@example.com"), ("password", "password123")])
    ///     .depends_on(["app_token"])
    ///     .request_headers_with(|context| [("X-App-Token", context.get_token_value("app_token"))])
    ///     .token_field("/data/token")
    ///     .build()?;
    /// # Ok::<_, requestforge::ConfigError>(())
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
    /// The field with the token. A text that begins with `/` is a JSON pointer (RFC 6901), such as `/data/token`; any
    /// other text is the name of a field. The other settings of fields follow the same rule.
    pub fn token_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.access_token = field.into().into())
    }

    /// The field with the token's type.
    pub fn token_type_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.token_type = field.into().into())
    }

    /// The token's type if the response has none. It is the first word of the `Authorization` header.
    pub fn default_token_type(self, token_type: impl Into<String>) -> Self {
        let token_type = token_type.into();
        self.check_token_type("default_token_type", &token_type)
            .with(|body| body.fields.default_token_type = token_type.into())
    }

    /// The field with the lifetime in seconds. If the response has no lifetime, the token does not expire.
    pub fn expires_in_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.expires_in = field.into().into())
    }

    /// The field with the time of expiry, and the format of that time, for responses without a lifetime. The step then
    /// ignores `expires_in_field`.
    pub fn expires_at_field(self, field: impl Into<String>, format: TimeFormat) -> Self {
        self.with(|body| body.fields.expires_at = Some((field.into().into(), format)))
    }

    /// The field with the refresh token. The pipeline does not send it. Later steps and the caller of
    /// [`execute`](crate::TokenFetchPipeline::execute) receive it.
    pub fn refresh_token_field(self, field: impl Into<String>) -> Self {
        self.with(|body| body.fields.refresh_token = field.into().into())
    }
}
