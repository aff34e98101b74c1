use std::time::Duration;

use forge_token::AuthMethod;
use serde::Deserialize;

use crate::reference::{RedisAddress, SecretReference, SecretReferences};
use crate::setting::{Params, ParsedValue, Table};

/// The fields of a service, as a file or the environment has them. [`ServiceConfig`] explains them.
///
/// [`ServiceConfig`]: crate::ServiceConfig
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    pub(crate) service_name: Option<ParsedValue<String>>,

    pub(crate) base_url: Option<ParsedValue<String>>,
    pub(crate) headers: Option<ParsedValue<Table>>,
    pub(crate) timeout: Option<ParsedValue<Duration>>,
    pub(crate) total_timeout: Option<ParsedValue<Duration>>,
    pub(crate) connect_timeout: Option<ParsedValue<Duration>>,
    pub(crate) max_retries: Option<ParsedValue<u32>>,
    pub(crate) redirects: Option<ParsedValue<bool>>,
    pub(crate) max_redirects: Option<ParsedValue<u32>>,
    pub(crate) public_headers: Option<ParsedValue<Vec<String>>>,
    pub(crate) plain_http_credentials: Option<ParsedValue<bool>>,

    pub(crate) bearer_token: Option<ParsedValue<SecretReference>>,
    pub(crate) api_key: Option<ParsedValue<SecretReference>>,
    pub(crate) api_key_header: Option<ParsedValue<String>>,
    pub(crate) basic_username: Option<ParsedValue<String>>,
    pub(crate) basic_password: Option<ParsedValue<SecretReference>>,

    pub(crate) token_url: Option<ParsedValue<String>>,
    pub(crate) client_id: Option<ParsedValue<String>>,
    pub(crate) client_secret: Option<ParsedValue<SecretReference>>,
    pub(crate) username: Option<ParsedValue<String>>,
    pub(crate) password: Option<ParsedValue<SecretReference>>,
    pub(crate) scope: Option<ParsedValue<String>>,
    pub(crate) scope_on_refresh: Option<ParsedValue<bool>>,
    pub(crate) audience: Option<ParsedValue<String>>,
    pub(crate) extra_params: Option<ParsedValue<Params>>,
    pub(crate) secret_query_params: Option<ParsedValue<SecretReferences>>,
    pub(crate) auth_method: Option<ParsedValue<AuthMethod>>,
    pub(crate) danger_accept_plain_http: Option<ParsedValue<bool>>,

    pub(crate) excluded_paths: Option<ParsedValue<Vec<String>>>,
    pub(crate) excluded_path_patterns: Option<ParsedValue<Vec<String>>>,

    pub(crate) redis_url: Option<ParsedValue<RedisAddress>>,
    pub(crate) redis_password: Option<ParsedValue<SecretReference>>,
    pub(crate) redis_key_prefix: Option<ParsedValue<String>>,
}

/// The fields that a variable cannot hold.
pub(crate) const TABLES: [&str; 3] = ["headers", "extra_params", "secret_query_params"];

/// The name of the variable of a field.
pub(crate) fn variable(prefix: &str, field: &str) -> String {
    format!("{prefix}{}", field.to_ascii_uppercase())
}
