//! Each published crate has the texts and settings that a registry and its users look for.

use cargo_metadata::camino::Utf8Path;
use cargo_metadata::{Metadata, Package};
use serde_json::json;

use crate::workspace;

/// Lets each `lib.rs` switch `doc_cfg` on, so that the documentation of an item names its feature.
const RUSTDOC_ARGS: [&str; 2] = ["--cfg", "docsrs"];

/// `cargo package` packs what is in the crate's own folder, so the licences have to be there too.
const LICENSES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// Fails when a published crate lacks something.
///
/// # Errors
///
/// With all that is missing, one crate per line.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let members = workspace.workspace_packages();
    let published = members.into_iter().filter(|member| workspace::is_published(member));
    let wrong: Vec<String> = published
        .filter_map(|member| {
            let missing = missing(member);
            (!missing.is_empty()).then(|| format!("{} lacks {}", member.name, missing.join(", ")))
        })
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n   ")) }
}

fn missing(package: &Package) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if package.description.as_ref().is_none_or(|text| text.trim().is_empty()) {
        missing.push("a description");
    }
    if package.license.is_none() {
        missing.push("a license");
    }
    if package.keywords.is_empty() {
        missing.push("keywords");
    }
    if package.categories.is_empty() {
        missing.push("categories");
    }
    if package.readme.as_ref().is_none_or(|readme| !folder(package).join(readme).is_file()) {
        missing.push("a readme");
    }
    let rustdoc_args = &package.metadata["docs"]["rs"]["rustdoc-args"];
    if *rustdoc_args != json!(RUSTDOC_ARGS) {
        missing.push("rustdoc-args for docs.rs");
    }
    missing.extend(LICENSES.into_iter().filter(|file| !folder(package).join(file).is_file()));
    missing
}

fn folder(package: &Package) -> &Utf8Path {
    package.manifest_path.parent().unwrap_or(&package.manifest_path)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// A package with the fields that the check reads, valid for this workspace except for `changes`.
    fn package(changes: &Value) -> Package {
        let mut package = json!({
            "name": "forge-x", "version": "0.1.0", "id": "forge-x", "dependencies": [], "targets": [],
            "features": {}, "manifest_path": concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
            "description": "A crate", "license": "MIT OR Apache-2.0", "readme": "README.md",
            "keywords": ["token"], "categories": ["authentication"],
            "metadata": { "docs": { "rs": { "rustdoc-args": RUSTDOC_ARGS } } },
        });
        for (field, value) in changes.as_object().unwrap() {
            package[field] = value.clone();
        }
        serde_json::from_value(package).unwrap()
    }

    #[test]
    fn what_a_published_crate_lacks_is_named() {
        assert_eq!(missing(&package(&json!({}))), [""; 0]);
        for (changes, expected) in [
            (json!({ "description": null }), "a description"),
            (json!({ "license": null }), "a license"),
            (json!({ "keywords": [] }), "keywords"),
            (json!({ "categories": [] }), "categories"),
            (json!({ "readme": null }), "a readme"),
            (json!({ "readme": "GONE.md" }), "a readme"),
            (json!({ "metadata": { "docs": { "rs": {} } } }), "rustdoc-args for docs.rs"),
        ] {
            assert_eq!(missing(&package(&changes)), [expected]);
        }
        let elsewhere = json!({ "manifest_path": concat!(env!("CARGO_MANIFEST_DIR"), "/src/Cargo.toml") });
        assert_eq!(missing(&package(&elsewhere)), ["a readme", "LICENSE-APACHE", "LICENSE-MIT"]);
    }
}
