//! The rules of naming that a machine can check (CONTRIBUTING.md).

use std::path::Path;

use cargo_metadata::Metadata;
use syn::visit::Visit;

use crate::ci::files;

/// Prefixes of functions that answer a question.
const PREDICATE_PREFIXES: [&str; 3] = ["is_", "has_", "was_"];
/// Prefixes of constants that name a bound in another way than `MAX_` and `MIN_`.
const REFUSED_CONSTANT_PREFIXES: [&str; 4] = ["MOST_", "LEAST_", "LONGEST_", "SHORTEST_"];

/// Fails when a function that is named like a question does not return `bool`, or a constant names a bound in
/// another way than `MAX_` and `MIN_`.
///
/// # Errors
///
/// With the place and the name of each offender, or when a source file cannot be read.
pub(crate) fn check(workspace: &Metadata) -> Result<(), String> {
    let root = workspace.workspace_root.as_std_path();
    let mut offenders = Vec::new();
    for path in files::list(root, "*.rs")? {
        offenders.extend(offenders_in_file(root, &path)?);
    }
    if offenders.is_empty() { Ok(()) } else { Err(format!("rules of naming:\n{}", offenders.join("\n"))) }
}

fn offenders_in_file(root: &Path, path: &str) -> Result<Vec<String>, String> {
    let found =
        offenders_in(&files::read(root, path)?).map_err(|error| format!("cannot parse {path}: {error}"))?;
    Ok(found.into_iter().map(|(line, offence)| format!("{path}:{line}: {offence}")).collect())
}

/// The line and the description of each offender in a source text.
fn offenders_in(source: &str) -> syn::Result<Vec<(usize, String)>> {
    let mut search = Search::default();
    search.visit_file(&syn::parse_file(source)?);
    Ok(search.offenders)
}

#[derive(Default)]
struct Search {
    offenders: Vec<(usize, String)>,
}

impl Search {
    fn check_function(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature) {
        let name = signature.ident.to_string();
        let is_predicate = PREDICATE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        // The name of a test is a sentence.
        if is_predicate && !is_test(attributes) && !contains_bool(&signature.output) {
            self.report(
                &signature.ident,
                format!("`{name}` does not return `bool`: name it by its action or its result"),
            );
        }
    }

    fn check_constant(&mut self, ident: &syn::Ident) {
        let name = ident.to_string();
        if REFUSED_CONSTANT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            self.report(ident, format!("`{name}`: bounds begin with `MAX_` or `MIN_`"));
        }
    }

    fn report(&mut self, ident: &syn::Ident, offence: String) {
        self.offenders.push((ident.span().start().line, offence));
    }
}

impl<'ast> Visit<'ast> for Search {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check_function(&item.attrs, &item.sig);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check_function(&item.attrs, &item.sig);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.check_function(&item.attrs, &item.sig);
        syn::visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.check_constant(&item.ident);
        syn::visit::visit_item_const(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.check_constant(&item.ident);
        syn::visit::visit_impl_item_const(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.check_constant(&item.ident);
        syn::visit::visit_item_static(self, item);
    }
}

/// Whether one of the attributes is `#[test]`, `#[tokio::test]` or the like.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    let name =
        |attribute: &syn::Attribute| attribute.path().segments.last().map(|last| last.ident.to_string());
    attributes.iter().any(|attribute| name(attribute).as_deref() == Some("test"))
}

/// Whether a function returns `bool`, maybe within another type: `Result<bool, E>`, `impl Future<Output = bool>`.
fn contains_bool(output: &syn::ReturnType) -> bool {
    struct FindBool(bool);
    impl<'ast> Visit<'ast> for FindBool {
        fn visit_ident(&mut self, ident: &'ast syn::Ident) {
            self.0 |= ident == "bool";
        }
    }
    let mut find = FindBool(false);
    find.visit_return_type(output);
    find.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offences(source: &str) -> Vec<(usize, String)> {
        let name = |offence: String| offence.split('`').nth(1).unwrap_or_default().to_owned();
        offenders_in(source).unwrap().into_iter().map(|(line, offence)| (line, name(offence))).collect()
    }

    #[test]
    fn a_function_that_is_named_like_a_question_returns_bool() {
        let source = "
            fn is_done() -> bool { true }
            fn has_key(key: &str) -> Result<bool, String> { Ok(key.is_empty()) }
            fn was_sent() -> impl Future<Output = bool> { async { true } }
            fn island() {}
            #[test]
            fn is_refused_with_a_reason() {}
            #[tokio::test]
            async fn has_room_for_all() {}
            fn is_over(lease: &mut Lease) {}
            trait Look { fn has_more(&self) -> u32; }
            impl Look for () { fn was_seen(&self) -> String { String::new() } }
            mod tests { fn is_refused(text: &str) { fn is_nested() {} } }";
        let expected =
            [(10, "is_over"), (11, "has_more"), (12, "was_seen"), (13, "is_refused"), (13, "is_nested")];
        assert_eq!(offences(source), expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn bounds_begin_with_max_or_min() {
        let source = "const MAX_HOPS: u8 = 1;
            const MOST_HOPS: u8 = 1;
            static LONGEST_WAIT: u8 = 1;
            impl Limits { const SHORTEST_NAP: u8 = 1; }
            const ALMOST_ALL: u8 = 1;";
        let expected = [(2, "MOST_HOPS"), (3, "LONGEST_WAIT"), (4, "SHORTEST_NAP")];
        assert_eq!(offences(source), expected.map(|(line, name)| (line, name.to_owned())));
    }

    #[test]
    fn what_cannot_be_parsed_is_an_error() {
        assert!(offenders_in("fn is_").is_err());
    }
}
