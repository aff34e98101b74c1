mod pattern;

use std::borrow::Cow;
use std::collections::HashSet;

use forge_core::ConfigError;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use url::Url;

use pattern::SentPattern;

/// The paths to which requests go without a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusions {
    paths: HashSet<String>,
    patterns: GlobSet,
    all: Vec<Exclusion>,
}

/// One excluded path or pattern: how it was written, and which paths it can match.
#[derive(Clone, Debug)]
struct Exclusion {
    written: String,
    prefix: String,
    is_literal: bool,
    can_match: bool,
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
        let mut exclusions = Self::default();
        for path in paths {
            let sent = as_sent(path)?;
            exclusions.all.push(Exclusion::path(path, &sent));
            exclusions.paths.insert(sent);
        }
        let mut globs = GlobSetBuilder::new();
        for pattern in patterns {
            if !pattern.starts_with(['/', '*', '?', '[', '{', '\\']) {
                return Err(invalid_pattern());
            }
            let sent = SentPattern::of(pattern);
            let glob = GlobBuilder::new(&sent.glob).literal_separator(false).backslash_escape(true).build();
            globs.add(glob.map_err(|error| invalid_pattern().with_source(error))?);
            exclusions.all.push(Exclusion::pattern(pattern, sent));
        }
        exclusions.patterns = globs.build().map_err(|error| invalid_pattern().with_source(error))?;
        Ok(exclusions)
    }

    /// Whether this path is excluded: the path that the client really sends, after it has joined and normalised
    /// the URL.
    pub(crate) fn contains(&self, path: &str) -> bool {
        // Speed: most clients have no exclusions, so most calls end here.
        if self.all.is_empty() {
            return false;
        }
        let path = &*with_upper_escapes(path);
        self.paths.contains(path)
            // Speed: even without patterns, `GlobSet` would prepare the path for a match.
            || (!self.patterns.is_empty() && self.patterns.is_match(path) && !may_climb(path))
    }

    /// The exclusions that match no path, as a log shows them. With a `directory`, those that match no path below
    /// it.
    pub(crate) fn ineffective(&self, directory: Option<&str>) -> impl Iterator<Item = String> {
        let directory = directory.map(with_upper_escapes);
        let never = move |exclusion: &&Exclusion| {
            !exclusion.can_match
                || directory.as_ref().is_some_and(|directory| !exclusion.can_match_below(directory))
        };
        self.all.iter().filter(never).map(Exclusion::shown)
    }
}

impl Exclusion {
    fn path(written: &str, sent: &str) -> Self {
        Self { written: written.to_owned(), prefix: sent.to_owned(), is_literal: true, can_match: true }
    }

    fn pattern(written: &str, sent: SentPattern) -> Self {
        let SentPattern { prefix, is_literal, can_match, glob: _ } = sent;
        Self { written: written.to_owned(), prefix, is_literal, can_match }
    }

    /// The exclusion as a log shows it: without a part that looks like a query, which may hold a secret.
    fn shown(&self) -> String {
        match self.written.split_once(['?', '#']) {
            Some((path, _)) if !self.can_match => format!("{path}…"),
            _ => self.written.clone(),
        }
    }

    fn can_match_below(&self, directory: &str) -> bool {
        self.prefix.starts_with(directory) || (!self.is_literal && directory.starts_with(&self.prefix))
    }
}

/// Whether some server may find a `..` in this path. Attack: a path such as `/public/..%2fusers` would match
/// `/public/*`, and a server that decodes the path first would treat it as `/users`. Others ignore what follows a
/// semicolon (`/public/..;/users`), or get a path that no client has normalised (`/public/../users`,
/// `/public/..\users`).
fn may_climb(path: &str) -> bool {
    let decoded = path.to_ascii_lowercase().replace("%2e", ".").replace("%3b", ";");
    let decoded = decoded.replace("%2f", "/").replace('\\', "/").replace("%5c", "/");
    decoded.split('/').any(|segment| segment.split(';').next() == Some(".."))
}

/// A path in the form in which `url` sends it: `/caf%C3%A9` for `/café`.
fn as_sent(path: &str) -> Result<String, ConfigError> {
    let expected = || ConfigError::new("excluded_paths", "paths that begin with a slash, without query");
    if !path.starts_with('/') || path.contains(['?', '#']) {
        return Err(expected());
    }
    let url = Url::parse(&format!("http://host{path}")).map_err(|error| expected().with_source(error))?;
    Ok(with_upper_escapes(url.path()).into_owned())
}

/// The same path with upper-case escapes (RFC 3986 6.2.2.1): `url` keeps the case of the escapes that it finds,
/// and writes its own in upper case.
fn with_upper_escapes(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut parts = path.split('%');
    let mut upper = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        upper.push('%');
        match part.split_at_checked(2) {
            Some((digits, rest)) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                upper.push_str(&digits.to_ascii_uppercase());
                upper.push_str(rest);
            }
            _ => upper.push_str(part),
        }
    }
    Cow::Owned(upper)
}

fn invalid_pattern() -> ConfigError {
    ConfigError::new("excluded_path_patterns", "glob patterns that can match a path, such as `/public/*`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::BaseUrl;

    #[test]
    fn braces_in_a_pattern_are_alternatives_and_in_a_path_they_are_encoded() {
        let held = |pattern: &str| {
            let exclusions = Exclusions::new(&[], &[pattern.to_owned()]).unwrap();
            let base = BaseUrl::new(Url::parse("https://api.example.com").unwrap());
            ["/a/x", "/b/x", "/{a,b}/x"].map(|path| exclusions.contains(base.join(path).unwrap().path()))
        };
        assert_eq!(held("/{a,b}/*"), [true, true, false]);
        assert_eq!(held("/%7Ba,b%7D/*"), [false, false, true]);
    }

    /// A row of the table in the documentation of `TokenAuth::excluded_paths`.
    struct Row {
        excluded: String,
        reference: String,
        base: String,
        sent: String,
        has_token: bool,
    }

    fn documented() -> Vec<Row> {
        let documentation = include_str!("token_auth.rs");
        let rows = documentation.lines().filter_map(|line| line.trim().strip_prefix("/// | `"));
        rows.filter(|row| row.matches(" | ").count() == 3).map(row).collect()
    }

    fn row(text: &str) -> Row {
        let text = format!("`{}", text.trim_end_matches(" |"));
        let [excluded, reference, sent, token] = text.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("four columns: {text}")
        };
        let (reference, base) = reference.split_once(" below ").unwrap_or((reference, ""));
        let code = |cell: &str| cell.trim_matches('`').to_owned();
        Row {
            excluded: code(excluded),
            reference: code(reference),
            base: format!("https://api.example.com{}", code(base)),
            sent: code(sent),
            has_token: match token {
                "yes" => true,
                "no" => false,
                other => panic!("yes or no, not {other}"),
            },
        }
    }

    #[test]
    fn what_the_documentation_says_of_tricky_paths_is_so() {
        let rows = documented();
        assert_eq!(rows.len(), 53, "rows found in the documentation's table");
        for Row { excluded, reference, base, sent, has_token } in rows {
            let is_pattern = excluded.contains(['*', '?', '[']);
            let (paths, patterns) =
                if is_pattern { (vec![], vec![excluded.clone()]) } else { (vec![excluded.clone()], vec![]) };
            let exclusions = Exclusions::new(&paths, &patterns).unwrap();
            let url = BaseUrl::new(Url::parse(&base).unwrap()).join(&reference).unwrap();
            assert_eq!(url.path(), sent, "{reference} below {base}");
            assert_eq!(
                !exclusions.contains(url.path()),
                has_token,
                "{excluded} excluded, {reference} below {base}"
            );
        }
    }

    #[test]
    fn a_pattern_does_not_hold_for_a_path_that_climbs_as_it_is_sent() {
        let exclusions = Exclusions::new(&["/health".into()], &["/public/*".into()]).unwrap();
        for (path, excluded) in [
            ("/health", true),
            ("/a/../health", false),
            ("/public/a", true),
            ("/public/../users", false),
            (r"/public/..\users", false),
            (r"/public/a\..\..\users", false),
            ("/public/..", false),
            ("/public/..a", true),
        ] {
            assert_eq!(exclusions.contains(path), excluded, "{path}");
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
