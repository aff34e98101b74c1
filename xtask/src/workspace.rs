//! The packages and features of this workspace, as cargo reports them.

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// The package that users depend on.
pub(crate) const FACADE: &str = "requestforge";
/// The member that holds the integration suites.
pub(crate) const SUITES: &str = "forge-tests";

/// The features that choose another TLS stack than the default one.
///
/// "All features" leaves them out: `native-tls` needs OpenSSL's headers on the machine, and
/// `rustls-no-provider` needs a provider that only the program at the end can install.
pub(crate) const OTHER_TLS: [&str; 3] = ["native-tls", "redis-tls-no-provider", "rustls-no-provider"];

/// The metadata of the members, without their dependencies.
///
/// # Errors
///
/// When a manifest cannot be read.
pub(crate) fn load() -> Result<Metadata, String> {
    MetadataCommand::new().no_deps().exec().map_err(|error| error.to_string())
}

/// The member with this name.
///
/// # Errors
///
/// When there is none.
pub(crate) fn member<'a>(workspace: &'a Metadata, name: &str) -> Result<&'a Package, String> {
    workspace
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == name)
        .ok_or_else(|| format!("the workspace has no member `{name}`"))
}

/// Whether the package may be published.
pub(crate) fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// "All features" of all members, as the value of `--features` in a command with `--workspace`.
pub(crate) fn all_features(workspace: &Metadata) -> String {
    let mut all = Vec::new();
    for package in workspace.workspace_packages() {
        for feature in package.features.keys() {
            if feature != "default" && !OTHER_TLS.contains(&feature.as_str()) {
                all.push(format!("{}/{feature}", package.name));
            }
        }
    }
    all.join(",")
}
