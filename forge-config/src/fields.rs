use std::time::Duration;

use forge_token::AuthMethod;
use serde::Deserialize;

use crate::reference::{Address, Reference, References};
use crate::setting::{Given, Params, Table};

/// The fields of a service, as a file or the environment gives them. [`ServiceConfig`] explains them.
///
/// [`ServiceConfig`]: crate::ServiceConfig
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fields {
    pub(crate) service_name: Option<Given<String>>,

    pub(crate) base_url: Option<Given<String>>,
    pub(crate) headers: Option<Given<Table>>,
    pub(crate) timeout: Option<Given<Duration>>,
    pub(crate) total_timeout: Option<Given<Duration>>,
    pub(crate) connect_timeout: Option<Given<Duration>>,
    pub(crate) max_retries: Option<Given<u32>>,
    pub(crate) redirects: Option<Given<bool>>,
    pub(crate) max_redirects: Option<Given<u32>>,
    pub(crate) public_headers: Option<Given<Vec<String>>>,
    pub(crate) plain_http_credentials: Option<Given<bool>>,

    pub(crate) bearer_token: Option<Given<Reference>>,
    pub(crate) api_key: Option<Given<Reference>>,
    pub(crate) api_key_header: Option<Given<String>>,
    pub(crate) basic_username: Option<Given<String>>,
    pub(crate) basic_password: Option<Given<Reference>>,

    pub(crate) token_url: Option<Given<String>>,
    pub(crate) client_id: Option<Given<String>>,
    pub(crate) client_secret: Option<Given<Reference>>,
    pub(crate) username: Option<Given<String>>,
    pub(crate) password: Option<Given<Reference>>,
    pub(crate) scope: Option<Given<String>>,
    pub(crate) scope_on_refresh: Option<Given<bool>>,
    pub(crate) audience: Option<Given<String>>,
    pub(crate) extra_params: Option<Given<Params>>,
    pub(crate) secret_query_params: Option<Given<References>>,
    pub(crate) auth_method: Option<Given<AuthMethod>>,
    pub(crate) danger_accept_plain_http: Option<Given<bool>>,

    pub(crate) excluded_paths: Option<Given<Vec<String>>>,
    pub(crate) excluded_path_patterns: Option<Given<Vec<String>>>,

    pub(crate) redis_url: Option<Given<Address>>,
    pub(crate) redis_password: Option<Given<Reference>>,
    pub(crate) redis_key_prefix: Option<Given<String>>,
}

/// Fields that no variable can hold.
pub(crate) const TABLES: [&str; 3] = ["headers", "extra_params", "secret_query_params"];
