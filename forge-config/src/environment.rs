//! Reads the fields of a service from environment variables.

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt;

use forge_core::ConfigError;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::fields::{Fields, TABLES, variable};
use crate::setting::REFERENCE;
use crate::{ServiceConfig, ServiceConfigError};

impl ServiceConfig {
    /// The service that these variables describe. Variables without the prefix are ignored.
    ///
    /// # Errors
    ///
    /// Names the variable that is unknown, empty, or set twice.
    pub(crate) fn from_prefixed_variables(
        prefix: &str,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ServiceConfigError> {
        let invalid = |variables: &[&str], expected: String| {
            let names = variables.iter().map(|name| (*name).to_owned()).collect();
            ServiceConfigError::new(None, names, ConfigError::new("variable", expected))
        };
        let unknown = |name: &str, expected| invalid(&[name], expected).into_unknown_variable();
        if prefix.is_empty() {
            return Err(invalid(&["prefix"], "a prefix that is not empty".into()));
        }
        let mut fields = BTreeMap::new();
        for (name, value) in variables {
            let Some(name) = name.to_str() else { continue };
            let Some(field) = name.strip_prefix(prefix) else { continue };
            if is_set_by_kubernetes(field) {
                continue;
            }
            let Some(value) = value.to_str().filter(|value| !value.is_empty()) else {
                return Err(invalid(&[name], "a text that is not empty".into()));
            };
            let field = field.to_ascii_lowercase();
            let (field, given) = match field.strip_suffix("_file") {
                Some(secret) => (secret.to_owned(), Variable::File { name: name.into(), path: value.into() }),
                None => (field, Variable::Value { name: name.into(), value: value.into() }),
            };
            if let Some(other) = fields.insert(field, given) {
                return Err(invalid(&[other.name(), name], "one of them".into()));
            }
        }

        let names: BTreeMap<_, _> =
            fields.iter().map(|(field, given)| (field.clone(), given.name().to_owned())).collect();
        let fields = Fields::deserialize(MapDeserializer::new(fields.into_iter()));
        fields.map(|fields| Self::from_prefixed_fields(fields, prefix)).map_err(|error| match error {
            VariablesError::Unknown { field, known } => {
                let name = names.get(&field).map_or(field.as_str(), String::as_str);
                unknown(name, format!("one of {}, each with the prefix {prefix}", variables_of(known)))
            }
            VariablesError::NotASecret { name } => {
                unknown(&name, "a name without _FILE, because only secrets come from files".into())
            }
            VariablesError::Other(what) => invalid(&["variables"], what),
        })
    }
}

/// The variables of those of these fields that a variable can hold, without the prefix.
fn variables_of(fields: &[&'static str]) -> String {
    let fields = fields.iter().filter(|field| !TABLES.contains(field));
    let variables = fields.map(|field| {
        let name = variable("", field);
        if is_secret(field) { format!("{name} (or {name}_FILE)") } else { name }
    });
    variables.collect::<Vec<_>>().join(", ")
}

fn is_secret(field: &'static str) -> bool {
    let file = Variable::File { name: String::new(), path: "path".into() };
    Fields::deserialize(MapDeserializer::new([(field, file)].into_iter())).is_ok()
}

/// Whether the variable is one that Kubernetes sets for a service with this name, or Docker for a link.
fn is_set_by_kubernetes(field: &str) -> bool {
    field == "SERVICE_HOST"
        || field == "PORT"
        || field.starts_with("SERVICE_PORT")
        || field.starts_with("PORT_")
}

/// One variable. It deserializes its field.
enum Variable {
    Value { name: String, value: String },
    File { name: String, path: String },
}

impl Variable {
    fn name(&self) -> &str {
        match self {
            Self::Value { name, .. } | Self::File { name, .. } => name,
        }
    }
}

impl IntoDeserializer<'_, VariablesError> for Variable {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Variable {
    type Error = VariablesError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VariablesError> {
        match self {
            Self::Value { value, .. } => visitor.visit_string(value),
            Self::File { name, .. } => Err(VariablesError::NotASecret { name }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, VariablesError> {
        visitor.visit_some(self)
    }

    /// Hands a secret on as a reference to its variable or file, the way a configuration file does.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        kind: &'static str,
        visitor: V,
    ) -> Result<V::Value, VariablesError> {
        if kind != REFERENCE {
            return self.deserialize_any(visitor);
        }
        let reference = match self {
            Self::Value { name, .. } => ("env", name),
            Self::File { path, .. } => ("file", path),
        };
        visitor.visit_map(MapDeserializer::new([reference].into_iter()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The reason why the variables describe no service.
#[derive(Debug)]
enum VariablesError {
    Unknown { field: String, known: &'static [&'static str] },
    NotASecret { name: String },
    Other(String),
}

impl de::Error for VariablesError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::Unknown { field: field.to_owned(), known }
    }
}

impl fmt::Display for VariablesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the variables describe no service")
    }
}

impl Error for VariablesError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ServiceConfig, ServiceConfigError> {
        let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        ServiceConfig::from_prefixed_variables("BILLING_", variables)
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        let given = [("BILLING_BASE_URL", "https://billing.example.com")];
        let error = match read(&[&given[..], variables].concat()) {
            Ok(config) => config.client().err(),
            Err(error) => Some(error),
        };
        let error = error.map(|error| format!("{error} {error:?}")).unwrap_or_default();
        assert!(!error.contains("canary"), "{error}");
        error
    }

    #[test]
    fn each_field_is_a_variable() {
        let config = read(&[
            ("PATH", "/bin"),
            ("BILLINGS_KEY", "x"),
            ("BILLING_BASE_URL", "https://billing.example.com"),
            ("BILLING_TIMEOUT", "5s"),
            ("BILLING_MAX_RETRIES", "3"),
            ("BILLING_REDIRECTS", "false"),
            ("BILLING_TOKEN_URL", "https://auth.example.com/token"),
            ("BILLING_CLIENT_ID", "shop"),
            ("BILLING_CLIENT_SECRET_FILE", "/run/secrets/billing"),
            ("BILLING_AUTH_METHOD", "header_raw"),
            ("BILLING_EXCLUDED_PATHS", "/health, /status"),
        ])
        .unwrap();
        let client = format!("{:?}", config.client_builder().unwrap());
        for part in ["timeout: 5s", "max_retries: 3", "max_redirects: None"] {
            assert!(client.contains(part), "{part} in {client}");
        }
        let auth = format!("{:?}", config.token_auth().unwrap());
        assert!(auth.contains("\"/health\"") && auth.contains("\"/status\""), "{auth}");
        let key = config.token_manager().unwrap().cache_key().to_owned();
        assert!(key.starts_with("auth_token:auth.example.com:"), "{key}");
    }

    #[test]
    fn what_cannot_be_is_told_by_the_variables_name() {
        for (variables, expected) in [
            (
                &[("BILLING_TIMEOT", "canary")][..],
                "`BILLING_TIMEOT`: unknown variable, expected one of SERVICE_NAME, BASE_URL, TIMEOUT,",
            ),
            (
                &[("BILLING_TIMEOT", "canary")],
                ", CLIENT_ID, CLIENT_SECRET (or CLIENT_SECRET_FILE), USERNAME,",
            ),
            (&[("BILLING_TIMEOT", "canary")], ", REDIS_KEY_PREFIX, each with the prefix BILLING_"),
            (
                &[("BILLING_API_KY_FILE", "canary")],
                "`BILLING_API_KY_FILE`: unknown variable, expected one of",
            ),
            (
                &[("BILLING_TIMEOUT_FILE", "canary")],
                "`BILLING_TIMEOUT_FILE`: unknown variable, expected a name without _FILE",
            ),
            (&[("BILLING_TIMEOUT", "canary")], "`BILLING_TIMEOUT`: expected a duration such as"),
            (&[("BILLING_TIMEOUT", "0")], "`BILLING_TIMEOUT`: expected a positive duration"),
            (&[("BILLING_HEADERS", "canary")], "`BILLING_HEADERS`: expected a configuration file"),
            (&[("BILLING_API_KEY", "")], "`BILLING_API_KEY`: expected a text that is not empty"),
            (
                &[("BILLING_API_KEY", "canary"), ("BILLING_API_KEY_FILE", "canary")],
                "`BILLING_API_KEY` and `BILLING_API_KEY_FILE`: expected one of them",
            ),
            (
                &[("BILLING_BEARER_TOKEN", "canary"), ("BILLING_CLIENT_ID", "canary")],
                "`BILLING_BEARER_TOKEN` and `BILLING_CLIENT_ID`: expected credentials of one kind",
            ),
            (
                &[("BILLING_CLIENT_ID", "canary"), ("BILLING_CLIENT_SECRET", "canary")],
                "`BILLING_TOKEN_URL`: expected a value, since `BILLING_CLIENT_ID` is given",
            ),
            (&[("BILLING_API_KEY_HEADER", "X-Key")], "`BILLING_API_KEY`: expected a value"),
        ] {
            let error = refused(variables);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        assert!(ServiceConfig::from_prefixed_variables("", []).is_err());
        for table in ["BILLING_EXTRA_PARAMS", "BILLING_SECRET_QUERY_PARAMS"] {
            let error = refused(&[
                ("BILLING_TOKEN_URL", "https://auth.example.com/token"),
                ("BILLING_CLIENT_ID", "shop"),
                ("BILLING_CLIENT_SECRET", "canary"),
                (table, "canary"),
            ]);
            assert!(error.contains(&format!("`{table}`: expected a configuration file")), "{error}");
        }
    }

    #[test]
    fn what_is_offered_is_what_a_variable_can_hold() {
        let Err(error) = read(&[("BILLING_TIMEOT", "5s")]) else { panic!("known") };
        let text = error.to_string();
        let (_, offered) = text.split_once("one of ").unwrap();
        let (offered, _) = offered.split_once(", each").unwrap();
        assert!(!offered.split(", ").any(|name| ["HEADERS", "EXTRA_PARAMS"].contains(&name)), "{offered}");
        let names = offered.split(", ").flat_map(|name| name.split(" (or "));
        for name in names.filter(|name| *name != "BASE_URL") {
            let name = format!("BILLING_{}", name.trim_end_matches(')'));
            let error = refused(&[(&name, "x")]);
            assert!(!error.contains("unknown variable") && !error.contains("a table"), "{error}");
        }
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_of_the_name_is_passed_over() {
        let of_kubernetes = [
            ("BILLING_SERVICE_HOST", "10.0.0.11"),
            ("BILLING_SERVICE_PORT", "80"),
            ("BILLING_SERVICE_PORT_HTTP", "80"),
            ("BILLING_PORT", "tcp://10.0.0.11:80"),
            ("BILLING_PORT_80_TCP_ADDR", "10.0.0.11"),
        ];
        assert_eq!(refused(&of_kubernetes), "");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_text_is_refused_only_with_the_prefix() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = || OsString::from_vec(vec![0xff]);
        assert!(
            ServiceConfig::from_prefixed_variables(
                "BILLING_",
                [("OTHER".into(), bytes()), (bytes(), bytes())]
            )
            .is_ok()
        );
        let error = ServiceConfig::from_prefixed_variables("BILLING_", [("BILLING_API_KEY".into(), bytes())])
            .unwrap_err();
        assert_eq!(error.fields(), ["BILLING_API_KEY"]);
    }
}
