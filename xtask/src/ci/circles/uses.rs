//! Which top-level module of a crate uses which others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::paths::{Module, paths_in};
use crate::ci::use_tree::leaves;

/// The module that uses, the module that it uses, and the first place where it does.
pub(super) type Uses = BTreeMap<(String, String), String>;

/// Reads a source file, or returns `None` where there is none.
pub(super) type ReadSource<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// The uses within the crate whose root file is `root`. Code that only tests compile does not count, and neither does
/// the root itself: it has to name all modules.
///
/// # Errors
///
/// With the path of a source file that is missing or cannot be parsed.
pub(super) fn uses(root: &Path, read: ReadSource<'_>) -> Result<Uses, String> {
    let file = parse(root, read)?;
    let found = paths_in(&file.items);
    let modules: BTreeSet<String> = found.modules.iter().map(|module| module.name.clone()).collect();
    let shown = shown_at_root(&file, &modules);
    let scope = Scope { file: root.into(), children: root.parent().unwrap_or(root).into(), depth: 0 };
    let mut walk = Walk { top: String::new(), modules, shown, read, uses: Uses::new() };
    for module in &found.modules {
        walk.top.clone_from(&module.name);
        walk.enter(module, &scope)?;
    }
    Ok(walk.uses)
}

/// A walk through a crate, one top-level module after the other.
struct Walk<'a> {
    /// The top-level module that the walk is in.
    top: String,
    modules: BTreeSet<String>,
    /// The module that a name at the root comes from.
    shown: BTreeMap<String, String>,
    read: ReadSource<'a>,
    uses: Uses,
}

/// The place of a module's items.
struct Scope {
    file: PathBuf,
    /// The folder of the files of its modules.
    children: PathBuf,
    /// The number of times that `super` leads from this module to the root.
    depth: usize,
}

impl Walk<'_> {
    fn enter(&mut self, module: &Module, parent: &Scope) -> Result<(), String> {
        let depth = parent.depth + 1;
        let children = parent.children.join(&module.name);
        if let Some(items) = &module.items {
            return self.add(items, &Scope { file: parent.file.clone(), children, depth });
        }
        let file = self.file_of(module, parent)?;
        let items = parse(&file, self.read)?.items;
        // The modules of a file that `#[path]` names are files beside it, as those of a `mod.rs`.
        let beside = file.parent().filter(|_| module.path.is_some()).map(Path::to_owned);
        self.add(&items, &Scope { children: beside.unwrap_or(children), file, depth })
    }

    fn file_of(&self, module: &Module, parent: &Scope) -> Result<PathBuf, String> {
        let own = parent.children.join(&module.name);
        let candidates: Vec<PathBuf> = match &module.path {
            Some(path) => vec![parent.file.with_file_name(path)],
            None => vec![own.with_extension("rs"), own.join("mod.rs")],
        };
        let found = candidates.iter().find(|path| (self.read)(path).is_some());
        found.cloned().ok_or_else(|| format!("there is no {}", candidates[0].display()))
    }

    fn add(&mut self, items: &[syn::Item], scope: &Scope) -> Result<(), String> {
        let found = paths_in(items);
        for path in found.paths {
            if let Some(to) = self.target(&path.segments, scope.depth) {
                let place = || format!("{}:{}", scope.file.display(), path.line);
                self.uses.entry((self.top.clone(), to)).or_insert_with(place);
            }
        }
        found.modules.iter().try_for_each(|module| self.enter(module, scope))
    }

    /// The other top-level module that a path leads to.
    fn target(&self, segments: &[String], depth: usize) -> Option<String> {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let rest = match segments.first()?.as_str() {
            "crate" => &segments[1..],
            "super" if supers == depth => &segments[supers..],
            _ => return None,
        };
        let first = rest.first()?;
        let module = if self.modules.contains(first) { first } else { self.shown.get(first)? };
        (*module != self.top).then(|| module.clone())
    }
}

/// The names that the root takes out of its modules: `pub use storage::TokenStorage;`.
fn shown_at_root(file: &syn::File, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let uses = file.items.iter().filter_map(|item| match item {
        syn::Item::Use(item) => Some(&item.tree),
        _ => None,
    });
    let mut shown = BTreeMap::new();
    for tree in uses {
        for leaf in leaves(tree) {
            let mut path =
                leaf.path.iter().skip_while(|segment| matches!(segment.as_str(), "crate" | "self"));
            if let (Some(module), Some(_)) =
                (path.next().filter(|first| modules.contains(*first)), path.next())
            {
                shown.insert(leaf.name, module.clone());
            }
        }
    }
    shown
}

fn parse(path: &Path, read: ReadSource<'_>) -> Result<syn::File, String> {
    let source = read(path).ok_or_else(|| format!("there is no {}", path.display()))?;
    syn::parse_file(&source).map_err(|error| format!("cannot parse {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The uses in a crate with these files, as `from → to at place`.
    fn found(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, source)| (*source).to_owned())
        };
        let uses = uses(Path::new("src/lib.rs"), &read)?;
        Ok(uses.into_iter().map(|((from, to), place)| format!("{from} → {to} at {place}")).collect())
    }

    #[test]
    fn all_ways_to_name_another_module_are_found() {
        let lib = "mod a; mod b; mod c; mod d; mod e { use super::a::A; } pub use d::{inner::D, Other as O};";
        let a = "mod deep;\nuse crate::{b::{B}, a::A};\nfn f() -> crate::D { todo() }";
        let deep = "fn f() {\n    let _ = super::super::c::C;\n    log!(crate::O);\n}";
        let files = [
            ("src/lib.rs", lib),
            ("src/a.rs", a),
            ("src/a/deep.rs", deep),
            ("src/b/mod.rs", "use super::c;"),
            ("src/c.rs", "use super::c::C; use other_crate::a::A;"),
            ("src/d.rs", "mod inner { use super::super::c; use super::a; }"),
        ];
        let expected = [
            "a → b at src/a.rs:2",
            "a → c at src/a/deep.rs:2",
            "a → d at src/a.rs:3",
            "b → c at src/b/mod.rs:1",
            "d → c at src/d.rs:1",
            "e → a at src/lib.rs:1",
        ];
        assert_eq!(found(&files).unwrap(), expected);
    }

    #[test]
    fn a_name_of_the_root_in_a_macro_leads_to_its_module() {
        let files = [
            ("src/lib.rs", "mod a; mod b; pub use b::B;"),
            ("src/a.rs", "fn f() { log!(x = crate::B::new()) }"),
            ("src/b.rs", ""),
        ];
        assert_eq!(found(&files).unwrap(), ["a → b at src/a.rs:1"]);
    }

    #[test]
    fn code_that_only_tests_compile_does_not_count() {
        let files = [
            ("src/lib.rs", "mod a; mod b; #[cfg(test)] mod for_tests;"),
            ("src/a.rs", "#[cfg(test)] use crate::b::B; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("src/b.rs", "#[cfg(test)] mod tests;"),
        ];
        assert_eq!(found(&files).unwrap(), [""; 0]);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        assert_eq!(found(&[("src/lib.rs", "mod a;")]), Err("there is no src/a.rs".into()));
        assert!(found(&[("src/lib.rs", "mod")]).is_err());
    }
}
