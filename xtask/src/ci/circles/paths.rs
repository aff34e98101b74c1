//! The paths in a module's items, and the modules that it declares.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::ci::use_tree::leaves;

/// The paths and modules in the items of one module.
#[derive(Default)]
pub(super) struct ModuleContents {
    pub(super) paths: Vec<FoundPath>,
    pub(super) modules: Vec<Module>,
}

/// A path of two or more segments.
pub(super) struct FoundPath {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
}

/// A module that an item declares.
pub(super) struct Module {
    pub(super) name: String,
    /// The value of `#[path]`.
    pub(super) path: Option<String>,
    /// `None` where the module has a file of its own.
    pub(super) items: Option<Vec<syn::Item>>,
}

/// The paths and the modules of these items, without what only tests compile. The paths in inner modules are not
/// among them.
pub(super) fn paths_in(items: &[syn::Item]) -> ModuleContents {
    let mut found = ModuleContents::default();
    for item in items {
        found.visit_item(item);
    }
    found
}

impl ModuleContents {
    /// Finds `crate::…` in the arguments of a macro, which are no syntax tree.
    fn search_tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (index, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.search_tokens(group.stream()),
                TokenTree::Ident(ident) if ident == "crate" => {
                    // The two tokens in between are the colons.
                    if let Some(TokenTree::Ident(next)) = tokens.get(index + 3) {
                        let segments = vec!["crate".to_owned(), next.to_string()];
                        self.paths.push(FoundPath { segments, line: ident.span().start().line });
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for ModuleContents {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !attributes(item).iter().any(is_for_tests) {
            syn::visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.modules.push(Module {
            name: item.ident.to_string(),
            path: item.attrs.iter().find_map(path_attribute),
            items: item.content.as_ref().map(|(_, items)| items.clone()),
        });
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let line = item.use_token.span.start().line;
        self.paths.extend(leaves(&item.tree).into_iter().map(|leaf| FoundPath { segments: leaf.path, line }));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first().filter(|_| segments.len() > 1) {
            self.paths.push(FoundPath { segments, line: first.ident.span().start().line });
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.search_tokens(item.tokens.clone());
        syn::visit::visit_macro(self, item);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether this is `#[cfg(test)]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Ident>().is_ok_and(|argument| argument == "test")
}

/// The text of `#[path = "…"]`.
fn path_attribute(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(meta) = &attribute.meta else { return None };
    let syn::Expr::Lit(value) = &meta.value else { return None };
    match &value.lit {
        syn::Lit::Str(text) if meta.path.is_ident("path") => Some(text.value()),
        _ => None,
    }
}
