//! A program that does not ask for Redis does not compile `redis`.

use cargo_metadata::{Metadata, Package};

use crate::command::{capture, cargo};
use crate::report::say;
use crate::workspace::FACADE;

/// Fails when the facade, with every feature that has nothing to do with Redis, depends on `redis`.
///
/// # Errors
///
/// With the dependencies that lead to `redis`.
pub(crate) fn check(workspace: &Metadata, facade: &Package) -> Result<(), String> {
    let features = unrelated(facade.features.keys().map(String::as_str));
    say(format_args!("features: {features}"));
    let tree = |more: &[&str]| {
        let mut command = cargo(&workspace.workspace_root);
        command.args(["tree", "-e", "normal", "-p", FACADE, "--no-default-features"]);
        // `all`: the dependencies of other platforms count as well.
        command.args(["--features", &features, "--target", "all"]).args(more);
        capture(&mut command)
    };
    if !has_redis(&tree(&["--prefix", "none"])?) {
        return Ok(());
    }
    let ways = tree(&["--invert", "redis"])?;
    Err(format!("`redis` is compiled with the features {features}:\n{ways}"))
}

/// The features whose names do not ask for Redis. The check must not follow them to the features that they switch on:
/// that would excuse the mistake that it looks for.
fn unrelated<'a>(features: impl Iterator<Item = &'a str>) -> String {
    let unrelated = |feature: &&str| !matches!(*feature, "default" | "full") && !feature.contains("redis");
    features.filter(unrelated).collect::<Vec<_>>().join(",")
}

fn has_redis(tree: &str) -> bool {
    tree.lines().any(|line| line.split_whitespace().next() == Some("redis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_redis_are_left_out() {
        let features = ["client", "default", "full", "native-tls", "redis-cluster", "storage-redis"];
        assert_eq!(unrelated(features.into_iter()), "client,native-tls");
    }

    #[test]
    fn only_the_crate_itself_counts() {
        assert!(has_redis("requestforge v0.1.0 (/r)\nredis v1.0.1\n"));
        assert!(!has_redis("requestforge v0.1.0 (/r)\nforge-storage-redis v0.1.0 (/r)\nredis-x v1.0.0\n"));
    }
}
