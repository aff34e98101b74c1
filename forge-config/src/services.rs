use std::collections::BTreeMap;

use forge_core::ConfigError;
use serde::{Deserialize, Deserializer};

use crate::{ServiceConfig, ServiceConfigError};

/// Several services by name: the tables of a file. Errors, logs and the cache key name a service after its table,
/// unless it has a `service_name`. A `HashMap<String, ServiceConfig>` reads the same file, but leaves the services
/// without these names.
///
/// ```
/// use requestforge::Services;
///
/// let services: Services = toml::from_str(
///     r#"
///     [billing]
///     base_url = "https://billing.example.com/v1"
///     timeout = "5s"
///     token_url = "https://auth.example.com/oauth/token"
///     client_id = "shop"
///     client_secret = { file = "/run/secrets/billing" }
///     scope = "invoices:read"
///
///     [search]
///     base_url = "https://search.example.com"
///     api_key = { env = "SEARCH_KEY" }
///     max_retries = 3
///     "#,
/// )?;
/// let billing = services.get("billing")?.client()?;
/// # drop(billing);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Services(BTreeMap<String, ServiceConfig>);

impl Services {
    /// The service with this name.
    ///
    /// # Errors
    ///
    /// No service has this name.
    pub fn get(&self, name: &str) -> Result<&ServiceConfig, ServiceConfigError> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<_> = self.0.keys().map(String::as_str).collect();
            let cause = ConfigError::new("service", format!("one of the services: {}", names.join(", ")));
            ServiceConfigError::new(None, vec![name.to_owned()], cause)
        })
    }

    /// All services with their names, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ServiceConfig)> {
        self.0.iter().map(|(name, config)| (name.as_str(), config))
    }
}

impl<'de> Deserialize<'de> for Services {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let services = BTreeMap::<String, ServiceConfig>::deserialize(deserializer)?;
        let named = services.into_iter().map(|(name, config)| {
            let config = config.with_table_name(&name);
            (name, config)
        });
        Ok(Self(named.collect()))
    }
}
