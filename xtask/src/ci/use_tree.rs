//! The names that a `use` brings.

/// A name that a `use` brings, and the path of what it names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Without the `*` of a glob.
    pub(crate) path: Vec<String>,
    /// `*` for a glob.
    pub(crate) name: String,
}

/// All names that a `use` brings.
pub(crate) fn leaves(tree: &syn::UseTree) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    descend(tree, &[], &mut leaves);
    leaves
}

fn descend(tree: &syn::UseTree, before: &[String], leaves: &mut Vec<Leaf>) {
    let with = |ident: &syn::Ident| [before, &[ident.to_string()]].concat();
    let leaf = match tree {
        syn::UseTree::Path(tree) => return descend(&tree.tree, &with(&tree.ident), leaves),
        syn::UseTree::Group(group) => {
            return group.items.iter().for_each(|tree| descend(tree, before, leaves));
        }
        syn::UseTree::Name(tree) if tree.ident == "self" => {
            Leaf { path: before.to_vec(), name: before.last().cloned().unwrap_or_default() }
        }
        syn::UseTree::Name(tree) => Leaf { path: with(&tree.ident), name: tree.ident.to_string() },
        syn::UseTree::Rename(tree) => Leaf { path: with(&tree.ident), name: tree.rename.to_string() },
        syn::UseTree::Glob(_) => Leaf { path: before.to_vec(), name: "*".to_owned() },
    };
    leaves.push(leaf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_path() {
        let item: syn::ItemUse = syn::parse_str("use a::{self, b::{C, D as E}, f::*};").unwrap();
        let expected = [("a", "a"), ("a b C", "C"), ("a b D", "E"), ("a f", "*")];
        let found: Vec<_> =
            leaves(&item.tree).into_iter().map(|leaf| (leaf.path.join(" "), leaf.name)).collect();
        assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
    }
}
