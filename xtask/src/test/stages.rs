//! The stages of `cargo xtask test`, and their selection by the command line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cargo_metadata::{Metadata, TargetKind};

use crate::workspace::{self, SUITES};

/// One run of `cargo test`.
pub(crate) struct Stage {
    /// The name for `--suite` and `--without`.
    pub(crate) name: String,
    /// One line about the subject of the stage; may be empty.
    pub(crate) about: String,
    /// The arguments of `cargo test` that pick its targets.
    pub(crate) targets: Vec<String>,
    /// The features without which there is no such target.
    pub(crate) features: Vec<String>,
}

impl Stage {
    /// Whether it takes one of these features.
    pub(crate) fn requires(&self, features: &[&str]) -> bool {
        self.features.iter().any(|feature| features.contains(&feature.as_str()))
    }

    /// The heading of the stage.
    pub(crate) fn title(&self) -> String {
        if self.about.is_empty() { self.name.clone() } else { format!("{}: {}", self.name, self.about) }
    }
}

/// All stages, in the order in which they run: the fast ones come first.
///
/// # Errors
///
/// When the member with the suites is missing, or two test targets have the same name.
pub(crate) fn all(workspace: &Metadata) -> Result<Vec<Stage>, String> {
    let mut unit: Vec<String> = ["--lib", "--bins", "--examples"].map(String::from).to_vec();
    let mut suites = Vec::new();
    workspace::member(workspace, SUITES)?;
    for package in workspace.workspace_packages() {
        for target in package.targets.iter().filter(|target| target.is_kind(TargetKind::Test)) {
            let targets = vec!["--test".to_owned(), target.name.clone()];
            if package.name == SUITES {
                let about = about(target.src_path.as_std_path());
                let features = target.required_features.clone();
                suites.push(Stage { name: target.name.clone(), about, targets, features });
            } else {
                unit.extend(targets);
            }
        }
    }

    let mut stages = vec![
        stage("unit", "libraries, binaries, examples and the crates' own tests", unit),
        stage("doc", "the examples in the documentation", vec!["--doc".into()]),
    ];
    // Cargo picks targets by name alone, so a shared name would run a test in the wrong stage.
    for suite in &suites {
        if stages.iter().any(|stage| stage.name == suite.name || stage.targets.contains(&suite.name)) {
            return Err(format!("the suite `{}` has the name of another test or stage", suite.name));
        }
    }
    stages.append(&mut suites);
    Ok(stages)
}

fn stage(name: &str, about: &str, targets: Vec<String>) -> Stage {
    Stage { name: name.into(), about: about.into(), targets, features: Vec::new() }
}

/// The stages that a command line selects.
pub(crate) struct Selection<'a> {
    /// The stages to run.
    pub(crate) run: Vec<&'a Stage>,
    /// The others.
    pub(crate) left_out: Vec<&'a Stage>,
}

/// The stages named in `suites`, or all where none is named, except for those named in `without`.
///
/// # Errors
///
/// When a name is unknown, or nothing is left to run.
pub(crate) fn select<'a>(
    stages: &'a [Stage],
    suites: &[String],
    without: &[String],
) -> Result<Selection<'a>, String> {
    for name in suites.iter().chain(without) {
        if !stages.iter().any(|stage| stage.name == *name) {
            let known = names(&stages.iter().collect::<Vec<_>>());
            return Err(format!("there is no suite `{name}`; there are: {known}"));
        }
    }
    let (run, left_out): (Vec<_>, Vec<_>) = stages.iter().partition(|stage| {
        (suites.is_empty() || suites.contains(&stage.name)) && !without.contains(&stage.name)
    });
    if run.is_empty() {
        return Err("all suites are left out, so none would run".into());
    }
    Ok(Selection { run, left_out })
}

/// The names of stages, separated by commas.
pub(crate) fn names(stages: &[&Stage]) -> String {
    stages.iter().map(|stage| stage.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The first line of a suite's own documentation.
fn about(source: &Path) -> String {
    let Ok(file) = File::open(source) else {
        return String::new();
    };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let doc = lines.map_while(|line| line.strip_prefix("//!").map(|text| text.trim().to_owned()));
    let paragraph: Vec<String> = doc.take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    // The first sentence of it.
    paragraph.split_once(". ").map_or(paragraph.clone(), |(sentence, _)| format!("{sentence}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages() -> Vec<Stage> {
        ["unit", "doc", "token", "django"].map(|name| stage(name, "", Vec::new())).into()
    }

    fn selected(suites: &[&str], without: &[&str]) -> Result<(String, String), String> {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let stages = stages();
        let selection = select(&stages, &owned(suites), &owned(without))?;
        Ok((names(&selection.run), names(&selection.left_out)))
    }

    #[test]
    fn without_names_all_run() {
        assert_eq!(selected(&[], &[]), Ok(("unit, doc, token, django".into(), String::new())));
    }

    #[test]
    fn named_suites_run_in_the_usual_order() {
        assert_eq!(selected(&["token", "unit"], &[]), Ok(("unit, token".into(), "doc, django".into())));
    }

    #[test]
    fn what_is_left_out_is_named() {
        assert_eq!(selected(&[], &["django"]), Ok(("unit, doc, token".into(), "django".into())));
        assert_eq!(selected(&["token", "doc"], &["doc"]).map(|(run, _)| run), Ok("token".into()));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let expected = "there is no suite `tokens`; there are: unit, doc, token, django";
        assert_eq!(selected(&["tokens"], &[]), Err(expected.into()));
        assert_eq!(selected(&[], &["tokens"]), Err(expected.into()));
    }

    #[test]
    fn nothing_to_run_is_an_error() {
        assert!(selected(&["doc"], &["doc"]).is_err());
    }
}
