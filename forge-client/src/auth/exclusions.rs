use std::collections::HashSet;

use forge_core::ConfigError;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use url::Url;

/// The paths to which requests go without a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusions {
    paths: HashSet<String>,
    patterns: GlobSet,
}

/// The settings of [`Exclusions`], as they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExcludedPaths {
    paths: Vec<String>,
    patterns: Vec<String>,
}

impl ExcludedPaths {
    pub(crate) fn add_paths<S: Into<String>>(&mut self, paths: impl IntoIterator<Item = S>) {
        self.paths.extend(paths.into_iter().map(Into::into));
    }

    pub(crate) fn add_patterns<S: Into<String>>(&mut self, patterns: impl IntoIterator<Item = S>) {
        self.patterns.extend(patterns.into_iter().map(Into::into));
    }

    pub(crate) fn build(&self) -> Result<Exclusions, ConfigError> {
        Exclusions::new(&self.paths, &self.patterns)
    }
}

impl Exclusions {
    fn new(paths: &[String], patterns: &[String]) -> Result<Self, ConfigError> {
        let paths = paths.iter().map(|path| as_sent(path)).collect::<Result<_, _>>()?;
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            if !pattern.starts_with(['/', '*', '?', '[', '{', '\\']) {
                return Err(invalid_pattern());
            }
            let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
            globs.add(glob.map_err(|error| invalid_pattern().with_source(error))?);
        }
        let patterns = globs.build().map_err(|error| invalid_pattern().with_source(error))?;
        Ok(Self { paths, patterns })
    }

    /// Decides on the path that is really sent, after joining and normalising.
    pub(crate) fn hold(&self, url: &Url) -> bool {
        let path = url.path();
        self.paths.contains(path) || self.patterns.is_match(path)
    }
}

/// A path in the form in which `url` sends it: `/caf%C3%A9` for `/café`.
fn as_sent(path: &str) -> Result<String, ConfigError> {
    let expected = || ConfigError::new("excluded_paths", "paths that begin with a slash, without query");
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(expected());
    }
    let url = Url::parse(&format!("http://host{path}")).map_err(|error| expected().with_source(error))?;
    Ok(url.path().to_owned())
}

fn invalid_pattern() -> ConfigError {
    ConfigError::new("excluded_path_patterns", "glob patterns that can match a path, such as `/public/*`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(paths: &[&str], patterns: &[&str], url: &str) -> bool {
        let owned = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let exclusions = Exclusions::new(&owned(paths), &owned(patterns)).unwrap();
        exclusions.hold(&Url::parse("https://api.example.com").unwrap().join(url).unwrap())
    }

    #[test]
    fn exact_paths_match_exactly() {
        for (url, holds) in [
            ("/health", true),
            ("/health?verbose=1", true),
            ("/x/../health", true),
            ("/%68ealth", false),
            ("/health/", false),
            ("/Health", false),
            ("/healthy", false),
            ("/a/health", false),
            ("/users?next=/health", false),
        ] {
            assert_eq!(excluded(&["/health"], &[], url), holds, "{url}");
        }
        assert!(excluded(&["/café"], &[], "/café"));
    }

    #[test]
    fn a_star_also_crosses_slashes() {
        for (pattern, url, holds) in [
            ("*/health", "/a/b/health", true),
            ("*/health", "/health", true),
            ("*/health", "/health/x", false),
            ("/public/*", "/public/a/b", true),
            ("/public/*", "/public/../users", false),
            ("/public/*", "/public/%2e%2e/users", false),
            ("/public/*", "/publicity", false),
            ("/docs/?", "/docs/a", true),
            ("/v[12]/status", "/v1/status", true),
            ("/v[12]/status", "/v3/status", false),
        ] {
            assert_eq!(excluded(&[], &[pattern], url), holds, "{pattern} {url}");
        }
    }

    #[test]
    fn what_is_no_path_or_pattern_is_refused() {
        let fails = |path: &str| Exclusions::new(&[path.to_owned()], &[]).unwrap_err().field();
        assert_eq!(fails("health"), "excluded_paths");
        assert_eq!(fails("/health?x"), "excluded_paths");
        for pattern in ["/a[", "public/*", ""] {
            let error = Exclusions::new(&[], &[pattern.to_owned()]).unwrap_err();
            assert_eq!(error.field(), "excluded_path_patterns", "{pattern}");
        }
    }
}
