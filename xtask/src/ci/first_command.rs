//! A newcomer's first command, `cargo run --example quickstart`, builds little more than the library.

use cargo_metadata::Metadata;

use crate::command::{capture, cargo};
use crate::report::say;
use crate::workspace::FACADE;

/// The highest ratio of the crates that the first command builds to those of the default build, in tenths.
const MAX_RATIO_IN_TENTHS: usize = 13;

/// Fails when the examples of the facade need too many crates besides those of its default build. Cargo builds all
/// development dependencies for any example.
///
/// # Errors
///
/// With both numbers and the crates that only the examples need.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let tree = |edges: &str| {
        let mut command = cargo(&workspace.workspace_root);
        command.args(["tree", "--locked", "-p", FACADE, "-e", edges, "--prefix", "none", "--no-dedupe"]);
        command.args(["--format", "{p}"]);
        capture(&mut command).map(|tree| crates(&tree))
    };
    let (library, examples) = (tree("normal,build")?, tree("normal,build,dev")?);
    say(format_args!("crates: {} in the default build, {} for its examples", library.len(), examples.len()));
    judge(&library, &examples)
}

/// The name and version of each crate in the output of `cargo tree`.
fn crates(tree: &str) -> Vec<String> {
    let mut crates: Vec<String> =
        tree.lines().map(|line| line.split(" (").next().unwrap_or(line).to_owned()).collect();
    crates.retain(|name| !name.is_empty());
    crates.sort();
    crates.dedup();
    crates
}

fn judge(library: &[String], examples: &[String]) -> Result<(), String> {
    if examples.len() * 10 <= library.len() * MAX_RATIO_IN_TENTHS {
        return Ok(());
    }
    let more: Vec<&str> =
        examples.iter().filter(|name| !library.contains(name)).map(String::as_str).collect();
    Err(format!(
        "`cargo run --example quickstart` builds {} crates, more than {}.{} times the {} of the default build. Move \
         the example that needs them to examples/services: {}",
        examples.len(),
        MAX_RATIO_IN_TENTHS / 10,
        MAX_RATIO_IN_TENTHS % 10,
        library.len(),
        more.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("crate-{index} v1.0.0")).collect()
    }

    #[test]
    fn a_crate_counts_once_for_each_version() {
        let tree = "requestforge v0.1.0 (/r)\na v1.0.0\na v2.0.0\nb v1.0.0 (proc-macro)\na v1.0.0 (*)\n\n";
        assert_eq!(crates(tree), ["a v1.0.0", "a v2.0.0", "b v1.0.0", "requestforge v0.1.0"]);
    }

    #[test]
    fn one_crate_too_many_is_refused_and_named() {
        assert_eq!(judge(&names(100), &names(130)), Ok(()));
        let error = judge(&names(100), &names(131)).unwrap_err();
        assert!(error.contains("builds 131 crates, more than 1.3 times the 100"), "{error}");
        assert!(error.contains("crate-130 v1.0.0"), "{error}");
    }
}
