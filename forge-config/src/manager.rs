//! Builds the manager of a service's credentials, and the settings with which a client sends them.

use forge_client::TokenAuth;
use forge_core::looks_like_credential_name;
use forge_token::{
    ClientCredentialsTokenProvider, Grant, OAuth2TokenProvider, OAuth2TokenProviderBuilder,
    PasswordGrantTokenProvider, TokenManager, TokenManagerBuilder,
};
use url::Url;

use crate::secret_token::{Scheme, SecretToken};
use crate::service::credentials::{Credentials, OAuth2};
use crate::service::field;
use crate::setting::ParsedValue;
use crate::{ServiceConfig, ServiceConfigError};

impl ServiceConfig {
    pub(crate) fn token_auth(&self) -> Result<Option<TokenAuth>, ServiceConfigError> {
        let Some(credentials) = self.credentials()? else { return Ok(None) };
        let mut auth = TokenAuth::new(self.manager(&credentials)?);
        if matches!(credentials, Credentials::ApiKey(_)) {
            let header = field!(self, api_key_header)?.map_or("X-API-Key", String::as_str);
            auth = auth.auth_header_name(header).auth_header_prefix("");
        }
        if let Some(paths) = field!(self, excluded_paths)? {
            auth = auth.excluded_paths(paths);
        }
        if let Some(patterns) = field!(self, excluded_path_patterns)? {
            auth = auth.excluded_path_patterns(patterns);
        }
        Ok(Some(auth))
    }

    pub(crate) fn build_manager(
        &self,
        credentials: &Credentials<'_>,
    ) -> Result<TokenManager, ServiceConfigError> {
        let name = self.service_name()?.map_or_else(|| self.host(), str::to_owned);
        let secret = |field, scheme, secret| {
            TokenManager::new(SecretToken::new(name, self.source_name_of(field), scheme, secret))
        };
        match credentials {
            Credentials::Bearer(token) => Ok(secret("bearer_token", Scheme::Bearer, token)),
            // The client sends the key without a scheme, see `token_auth`.
            Credentials::ApiKey(key) => Ok(secret("api_key", Scheme::Bearer, key)),
            Credentials::Basic { username, password } => {
                Ok(secret("basic_password", Scheme::Basic { username: (*username).to_owned() }, password))
            }
            Credentials::OAuth2(oauth2) => {
                let manager = self.oauth2_manager(oauth2)?;
                let manager = self.with_storage(manager)?.build();
                manager.map_err(|cause| self.error(&["redis_key_prefix"], cause))
            }
        }
    }

    /// The name of a service without `service_name`: its host. An OAuth2 service is named after the host of its token
    /// URL.
    fn host(&self) -> String {
        let url = match &self.fields.base_url {
            Some(ParsedValue::Valid(url)) => Url::parse(url).ok(),
            _ => None,
        };
        url.as_ref().and_then(Url::host_str).unwrap_or("service").to_owned()
    }

    fn oauth2_manager(&self, oauth2: &OAuth2<'_>) -> Result<TokenManagerBuilder, ServiceConfigError> {
        let OAuth2 { token_url, client_id, client_secret, user } = *oauth2;
        self.refuse_secrets_in_query(token_url)?;
        let client_secret = client_secret.clone();
        Ok(match user {
            None => TokenManager::builder(self.provider(ClientCredentialsTokenProvider::builder(
                token_url,
                client_id,
                client_secret,
            ))?),
            Some((username, password)) => {
                TokenManager::builder(self.provider(PasswordGrantTokenProvider::builder(
                    token_url,
                    client_id,
                    client_secret,
                    username,
                    password.clone(),
                ))?)
            }
        })
    }

    /// Refuses a token URL with a secret in its query. The builder of the provider checks this too, but its error names
    /// a setting that is not a field of a service.
    fn refuse_secrets_in_query(&self, token_url: &str) -> Result<(), ServiceConfigError> {
        let Ok(url) = Url::parse(token_url) else { return Ok(()) };
        if url.query_pairs().any(|(name, _)| looks_like_credential_name(&name)) {
            let expected = "a query without a parameter that is named like a secret; set that parameter in \
                            `secret_query_params`, by reference (a configuration file has this field, the \
                            environment does not)";
            return Err(self.error_expecting("token_url", expected));
        }
        Ok(())
    }

    fn provider<G: Grant>(
        &self,
        mut builder: OAuth2TokenProviderBuilder<G>,
    ) -> Result<OAuth2TokenProvider<G>, ServiceConfigError> {
        if let Some(name) = self.service_name()? {
            builder = builder.service_name(name);
        }
        if let Some(scope) = field!(self, scope)? {
            builder = builder.scope(scope);
        }
        if field!(self, scope_on_refresh)? == Some(&true) {
            builder = builder.scope_on_refresh();
        }
        if let Some(audience) = field!(self, audience)? {
            builder = builder.extra_param("audience", audience);
        }
        for (name, value) in field!(self, extra_params)?.map_or(&[][..], |params| &params.0) {
            builder = builder.extra_param(name, value);
        }
        for (name, secret) in field!(self, secret_query_params)?.map_or(&[][..], |params| &params.0) {
            builder = builder.secret_query_param(name, secret.clone());
        }
        if let Some(method) = field!(self, auth_method)? {
            builder = builder.auth_method(*method);
        }
        if let Some(accept) = field!(self, danger_accept_plain_http)? {
            builder = builder.danger_accept_plain_http(*accept);
        }
        builder.build().map_err(|cause| {
            let field = match cause.field() {
                "extra_param" => "extra_params",
                "secret_query_param" => "secret_query_params",
                "http" => "token_url",
                field => field,
            };
            self.error(&[field], cause)
        })
    }
}
