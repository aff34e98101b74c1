//! The root of the facade has few names; the rest has a module that says what it is for.

use cargo_metadata::Metadata;

use crate::ci::files;
use crate::ci::use_tree::leaves;
use crate::report::say;

/// The names of the two Python documents, and those that a user needs in the first hour.
const MAX_NAMES: usize = 55;
const ROOT: &str = "src/lib.rs";

/// Fails when the root of the facade has more than [`MAX_NAMES`] public names apart from modules.
///
/// # Errors
///
/// With the number and the names, or when a source file cannot be read.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let root = workspace.workspace_root.as_std_path();
    let read = |path: &str| parse(&files::read(root, path)?, path);
    let facade = read(ROOT)?;
    // The modules of our crates that the facade may show at its root.
    let mut modules = Vec::new();
    for package in workspace.workspace_packages() {
        let source = format!("{}/{ROOT}", package.name);
        if root.join(&source).is_file() {
            let name = package.name.replace('-', "_");
            modules.extend(modules_in(&read(&source)?).into_iter().map(|module| [name.clone(), module]));
        }
    }
    let names = names_in(&facade, &modules)?;
    say(format_args!("names at the root: {}, at most {MAX_NAMES}", names.len()));
    judge(&names)
}

fn parse(source: &str, path: &str) -> Result<syn::File, String> {
    syn::parse_file(source).map_err(|error| format!("cannot parse {path}: {error}"))
}

fn judge(names: &[String]) -> Result<(), String> {
    if names.len() <= MAX_NAMES {
        return Ok(());
    }
    Err(format!(
        "{ROOT} has {} public names apart from modules, {MAX_NAMES} are the most: {}",
        names.len(),
        names.join(", ")
    ))
}

/// The public modules of a crate's root, with the crates that it shows there: `pub use reqwest;`.
fn modules_in(file: &syn::File) -> Vec<String> {
    let mut modules = Vec::new();
    for item in &file.items {
        match item {
            syn::Item::Mod(item) if is_public(&item.vis) => modules.push(item.ident.to_string()),
            syn::Item::Use(item) if is_public(&item.vis) => {
                let leaves = leaves(&item.tree);
                modules.extend(leaves.into_iter().filter(|leaf| leaf.path.len() == 1).map(|leaf| leaf.name));
            }
            _ => {}
        }
    }
    modules
}

/// The public names at the root of the facade that are documented and are no modules.
fn names_in(file: &syn::File, modules: &[[String; 2]]) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for item in &file.items {
        let (attributes, visibility, name) = match item {
            syn::Item::Use(item) => (&item.attrs, &item.vis, None),
            syn::Item::Fn(item) => (&item.attrs, &item.vis, Some(&item.sig.ident)),
            syn::Item::Struct(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            syn::Item::Const(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            syn::Item::Static(item) => (&item.attrs, &item.vis, Some(&item.ident)),
            _ => continue,
        };
        if !is_public(visibility) || is_hidden(attributes) {
            continue;
        }
        names.extend(name.map(ToString::to_string));
        if let syn::Item::Use(item) = item {
            for leaf in leaves(&item.tree) {
                if leaf.name == "*" {
                    return Err(format!(
                        "{ROOT}: `{}` hides how many names it brings",
                        leaf.path.join("::") + "::*"
                    ));
                }
                let is_module = leaf.path.len() == 1 || modules.iter().any(|module| leaf.path == *module);
                names.extend((!is_module).then_some(leaf.name));
            }
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn is_public(visibility: &syn::Visibility) -> bool {
    matches!(visibility, syn::Visibility::Public(_))
}

/// Whether the documentation leaves the item out.
fn is_hidden(attributes: &[syn::Attribute]) -> bool {
    let hides = |attribute: &syn::Attribute| {
        attribute.path().is_ident("doc")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "hidden")
    };
    attributes.iter().any(hides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Result<Vec<String>, String> {
        let client =
            parse("pub mod blocking; mod inner; pub use reqwest; pub use inner::Client;", "").unwrap();
        let modules: Vec<_> =
            modules_in(&client).into_iter().map(|module| ["forge_client".to_owned(), module]).collect();
        names_in(&parse(source, "").unwrap(), &modules)
    }

    #[test]
    fn names_count_and_modules_do_not() {
        let source = "
            pub use forge_client::{blocking, reqwest, Client, inner::{Deep, Deeper as Deepest}};
            pub use http;
            pub mod retry { pub use forge_client::Budget; }
            pub fn send() {}
            pub(crate) use forge_client::Hidden;
            #[doc(hidden)]
            pub use forge_client::renamed::*;
            #[cfg(doctest)]
            struct Readme;";
        assert_eq!(names(source).unwrap(), ["Client", "Deep", "Deepest", "send"]);
    }

    #[test]
    fn a_glob_is_refused() {
        let expected = "src/lib.rs: `forge_client::prelude::*` hides how many names it brings";
        assert_eq!(names("pub use forge_client::prelude::*;"), Err(expected.into()));
    }

    #[test]
    fn the_56th_name_is_refused() {
        let of = |count: usize| (0..count).map(|index| format!("Name{index}")).collect::<Vec<_>>();
        assert_eq!(judge(&of(55)), Ok(()));
        let error = judge(&of(56)).unwrap_err();
        assert!(error.contains("has 56 public names") && error.contains("Name55"), "{error}");
    }
}
