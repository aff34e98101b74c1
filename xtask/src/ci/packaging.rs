//! What a registry and its users want to find in every published crate.

use cargo_metadata::{Metadata, Package};

use crate::workspace;

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
    let folder = package.manifest_path.parent();
    missing.extend(
        LICENSES.into_iter().filter(|file| !folder.is_some_and(|folder| folder.join(file).is_file())),
    );
    missing
}
