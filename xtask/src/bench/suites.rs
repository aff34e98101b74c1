//! Which suites there are, and which of them a command line selects.

/// The program that a suite is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// Measures `requestforge` alone; a member of the workspace.
    Ours,
    /// Measures `requestforge` beside other libraries; a crate outside the workspace.
    Peers,
}

/// One run of a bench program.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The name for `--suite` and for the program.
    pub(crate) name: &'static str,
    /// One line about the subject of the suite.
    pub(crate) about: &'static str,
    pub(crate) program: Program,
    pub(crate) needs_redis: bool,
}

/// All suites, in the order of the table.
pub(crate) const ALL: [Suite; 13] = [
    peers("hit", "a call that finds a valid token in the cache").with_redis(),
    peers("two_threads", "such calls by two threads at once"),
    peers("header", "the header value of the cached token"),
    peers("cold_start", "many callers before the first token"),
    peers("dropped", "the first caller gives up"),
    peers("failing", "a token endpoint that is down"),
    peers("rotation", "renewals under load"),
    ours("storm401", "a token revoked under load"),
    ours("client", "requests through the client"),
    ours("redis", "round trips to Redis").with_redis(),
    ours("fleet", "many processes, one token").with_redis(),
    ours("tokens_held", "many tokens in memory"),
    ours("build", "the first build of a user's program"),
];

const fn peers(name: &'static str, about: &'static str) -> Suite {
    Suite { name, about, program: Program::Peers, needs_redis: false }
}

const fn ours(name: &'static str, about: &'static str) -> Suite {
    Suite { name, about, program: Program::Ours, needs_redis: false }
}

impl Suite {
    const fn with_redis(self) -> Self {
        Self { needs_redis: true, ..self }
    }
}

/// The suites with these names, or all if none is named, in the usual order.
///
/// # Errors
///
/// When a name is unknown.
pub(crate) fn select(names: &[String]) -> Result<Vec<&'static Suite>, String> {
    if let Some(unknown) = names.iter().find(|name| !ALL.iter().any(|suite| suite.name == **name)) {
        let known: Vec<&str> = ALL.iter().map(|suite| suite.name).collect();
        return Err(format!("there is no suite `{unknown}`; there are: {}", known.join(", ")));
    }
    Ok(ALL.iter().filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(names: &[&str]) -> Result<Vec<&'static str>, String> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        Ok(select(&names)?.into_iter().map(|suite| suite.name).collect())
    }

    #[test]
    fn without_names_all_run() {
        assert_eq!(selected(&[]).map(|all| all.len()), Ok(ALL.len()));
    }

    #[test]
    fn named_suites_run_in_the_usual_order() {
        assert_eq!(selected(&["redis", "hit"]), Ok(vec!["hit", "redis"]));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        assert!(
            selected(&["hits"]).is_err_and(|why| why.contains("`hits`") && why.contains("hit, two_threads"))
        );
    }
}
