//! Finds the credentials of a service among its fields.

use forge_core::{ConfigError, SecretSource, has_control_character};

use crate::service::field;
use crate::{ServiceConfig, ServiceConfigError};

/// The credentials of a service. It has one kind of them, with all fields of that kind.
pub(crate) enum Credentials<'a> {
    Bearer(&'a SecretSource),
    ApiKey(&'a SecretSource),
    Basic { username: &'a str, password: &'a SecretSource },
    OAuth2(OAuth2<'a>),
}

pub(crate) struct OAuth2<'a> {
    pub(crate) token_url: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) client_secret: &'a SecretSource,
    pub(crate) user: Option<(&'a str, &'a SecretSource)>,
}

/// The value of a field that must be set, because another field is set.
macro_rules! required {
    ($config:expr, $field:ident, $since:expr) => {
        field!($config, $field)?.ok_or_else(|| $config.missing_error(stringify!($field), $since))?
    };
}

impl ServiceConfig {
    /// The credentials of the service, if it has any.
    ///
    /// # Errors
    ///
    /// The fields belong to several kinds of credentials, or a field of the kind is missing.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials<'_>>, ServiceConfigError> {
        let fields = &self.fields;
        let bearer = first_present([("bearer_token", fields.bearer_token.is_some())]);
        let key = first_present([
            ("api_key", fields.api_key.is_some()),
            ("api_key_header", fields.api_key_header.is_some()),
        ]);
        let basic = first_present([
            ("basic_username", fields.basic_username.is_some()),
            ("basic_password", fields.basic_password.is_some()),
        ]);
        let oauth2 = first_present([
            ("token_url", fields.token_url.is_some()),
            ("client_id", fields.client_id.is_some()),
            ("client_secret", fields.client_secret.is_some()),
            ("username", fields.username.is_some()),
            ("password", fields.password.is_some()),
            ("scope", fields.scope.is_some()),
            ("scope_on_refresh", fields.scope_on_refresh.is_some()),
            ("audience", fields.audience.is_some()),
            ("extra_params", fields.extra_params.is_some()),
            ("secret_query_params", fields.secret_query_params.is_some()),
            ("auth_method", fields.auth_method.is_some()),
            ("danger_accept_plain_http", fields.danger_accept_plain_http.is_some()),
        ]);
        let given: Vec<_> = [bearer, key, basic, oauth2].into_iter().flatten().collect();
        if given.len() > 1 {
            return Err(
                self.error(&given, ConfigError::new("auth", "credentials of one kind, not of several"))
            );
        }
        self.refuse_unused_settings(&given, oauth2)?;

        let credentials = if let Some(since) = bearer {
            Credentials::Bearer(&required!(self, bearer_token, since).0)
        } else if let Some(since) = key {
            Credentials::ApiKey(&required!(self, api_key, since).0)
        } else if let Some(since) = basic {
            let username = required!(self, basic_username, since);
            if username.contains(':') || has_control_character(username) {
                let expected = "no colon and no control characters (RFC 7617 2)";
                return Err(self.error_expecting("basic_username", expected));
            }
            Credentials::Basic { username, password: &required!(self, basic_password, since).0 }
        } else if let Some(since) = oauth2 {
            Credentials::OAuth2(OAuth2 {
                token_url: required!(self, token_url, since),
                client_id: required!(self, client_id, since),
                client_secret: &required!(self, client_secret, since).0,
                user: match (field!(self, username)?, field!(self, password)?) {
                    (None, None) => None,
                    (Some(username), Some(password)) => Some((username, &password.0)),
                    (None, Some(_)) => return Err(self.missing_error("username", "password")),
                    (Some(_), None) => return Err(self.missing_error("password", "username")),
                },
            })
        } else {
            return Ok(None);
        };
        Ok(Some(credentials))
    }

    /// Refuses fields that have no effect with these credentials.
    fn refuse_unused_settings(
        &self,
        credentials: &[&str],
        oauth2: Option<&str>,
    ) -> Result<(), ServiceConfigError> {
        let fields = &self.fields;
        let redis = first_present([
            ("redis_url", fields.redis_url.is_some()),
            ("redis_password", fields.redis_password.is_some()),
            ("redis_key_prefix", fields.redis_key_prefix.is_some()),
        ]);
        if let (Some(redis), None) = (redis, oauth2) {
            return Err(self.missing_error("token_url", redis));
        }
        if let (Some(redis), None) = (redis, &fields.redis_url) {
            return Err(self.missing_error("redis_url", redis));
        }
        let excluded = first_present([
            ("excluded_paths", fields.excluded_paths.is_some()),
            ("excluded_path_patterns", fields.excluded_path_patterns.is_some()),
        ]);
        match excluded {
            Some(excluded) if credentials.is_empty() => {
                Err(self.error_expecting(excluded, "credentials beside it, which these paths exclude"))
            }
            _ => Ok(()),
        }
    }

    fn missing_error(&self, field: &'static str, since: &str) -> ServiceConfigError {
        self.error_expecting(field, format!("a value, since `{}` is given", self.source_name_of(since)))
    }
}

/// The first of these fields that is set.
fn first_present<const N: usize>(fields: [(&'static str, bool); N]) -> Option<&'static str> {
    fields.into_iter().find(|(_, is_given)| *is_given).map(|(field, _)| field)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ONE: &str = "credentials of one kind";

    fn refused(fields: &Value) -> String {
        let config: ServiceConfig = serde_json::from_value(fields.clone()).unwrap();
        config.client().err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn service(fields: Value) -> Value {
        let mut service = json!({"base_url": "https://api.example.com"});
        let Value::Object(fields) = fields else { panic!("an object") };
        service.as_object_mut().unwrap().extend(fields);
        service
    }

    fn client(more: Value) -> Value {
        let mut client = service(more);
        for (name, value) in [("token_url", json!("https://a.example.com/t")), ("client_id", json!("a"))] {
            client[name] = value;
        }
        client["client_secret"] = json!({"env": "SECRET"});
        client
    }

    #[test]
    fn each_kind_is_complete_by_itself() {
        let secret = json!({"env": "SECRET"});
        for fields in [
            service(json!({})),
            service(json!({"bearer_token": secret, "excluded_paths": ["/health"]})),
            service(json!({"api_key": secret})),
            service(json!({"api_key": secret, "api_key_header": "X-Key"})),
            service(json!({"basic_username": "user", "basic_password": secret})),
            client(json!({})),
            client(json!({"username": "user", "password": secret, "excluded_path_patterns": ["*/health"]})),
            client(json!({"scope": "a b", "scope_on_refresh": true, "secret_query_params": {"key": secret}})),
            client(json!({"scope": "a b", "audience": "x", "extra_params": {"resource": "y"}})),
        ] {
            assert_eq!(refused(&fields), "", "{fields}");
        }
    }

    #[test]
    fn what_contradicts_itself_lacks_something_or_has_no_effect_is_named() {
        let secret = json!({"env": "SECRET"});
        for (fields, expected) in [
            (json!({"bearer_token": secret, "api_key": secret}), vec!["`bearer_token` and `api_key`", ONE]),
            (
                json!({"api_key_header": "a", "basic_username": "b"}),
                vec!["`api_key_header` and `basic_username`", ONE],
            ),
            (json!({"bearer_token": secret, "scope": "a"}), vec!["`bearer_token` and `scope`", ONE]),
            (json!({"api_key_header": "a"}), vec!["`api_key`:", "since `api_key_header`"]),
            (json!({"basic_username": "a"}), vec!["`basic_password`:"]),
            (json!({"basic_password": secret}), vec!["`basic_username`:"]),
            (
                json!({"basic_username": "a:b", "basic_password": secret}),
                vec!["`basic_username`: expected no colon"],
            ),
            (
                json!({"basic_username": "a\n", "basic_password": secret}),
                vec!["`basic_username`: expected no colon and no control characters"],
            ),
            (json!({"scope": "a"}), vec!["`token_url`:", "since `scope`"]),
            (json!({"token_url": "https://a.example.com"}), vec!["`client_id`:"]),
            (json!({"token_url": "https://a.example.com", "client_id": "a"}), vec!["`client_secret`:"]),
            (client(json!({"username": "a"})), vec!["`password`:", "since `username`"]),
            (client(json!({"password": secret})), vec!["`username`:"]),
            (
                json!({"redis_url": "redis://r", "bearer_token": secret}),
                vec!["`token_url`:", "since `redis_url`"],
            ),
            (client(json!({"redis_key_prefix": "p"})), vec!["`redis_url`:", "since `redis_key_prefix`"]),
            (json!({"excluded_paths": ["/health"]}), vec!["`excluded_paths`: expected credentials"]),
        ] {
            let error = refused(&service(fields));
            for part in expected {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn inv26_a_secret_in_the_query_of_a_token_url_has_a_field_of_its_own() {
        let mut fields = client(json!({}));
        fields["token_url"] = json!("https://a.example.com/t?key=canary");
        let error = refused(&fields);
        assert!(error.contains("`token_url`") && error.contains("`secret_query_params`"), "{error}");
    }

    #[test]
    fn settings_that_the_builders_refuse_are_named_as_the_fields_are() {
        let secret = json!({"env": "SECRET"});
        let plain = json!({"token_url": "http://a.example.com/t", "client_id": "a", "client_secret": secret});
        for (fields, field) in [
            (service(plain), "token_url"),
            (client(json!({"extra_params": {"scope": "a"}})), "extra_params"),
            (client(json!({"extra_params": {"a": ["canary", 1]}})), "extra_params"),
            (client(json!({"extra_params": {"a": ["b", ["canary"]]}})), "extra_params"),
            (client(json!({"service_name": ""})), "service_name"),
            (client(json!({"service_name": "shop:eu"})), "service_name"),
            (client(json!({"scope_on_refresh": "yes"})), "scope_on_refresh"),
            (client(json!({"secret_query_params": {"key": "canary"}})), "secret_query_params"),
            (client(json!({"secret_query_params": {"": secret}})), "secret_query_params"),
            (client(json!({"auth_method": "post"})), "auth_method"),
            (client(json!({"excluded_path_patterns": ["["]})), "excluded_path_patterns"),
            (service(json!({"base_url": 1})), "base_url"),
            (service(json!({"base_url": "ftp://api.example.com"})), "base_url"),
            (service(json!({"timeout": 0})), "timeout"),
            (service(json!({"max_retries": -1})), "max_retries"),
            (service(json!({"headers": {"a b": "c"}})), "headers"),
            (service(json!({"headers": {"Authorization": "Bearer canary"}})), "headers"),
            (service(json!({"headers": {"X-Vault-Token": "canary"}})), "headers"),
            (service(json!({"headers": {"Ocp-Apim-Subscription-Key": "canary"}})), "headers"),
            (service(json!({"headers": ["canary"]})), "headers"),
            (service(json!({"headers": {"X-A": ["canary"]}})), "headers"),
            (service(json!({"api_key": secret, "api_key_header": "a b"})), "api_key_header"),
        ] {
            let error = refused(&fields);
            assert!(error.contains(&format!("`{field}`: expected ")), "{field}: {error}");
            assert!(!error.contains("configuration file"), "the fields are those of a file: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
