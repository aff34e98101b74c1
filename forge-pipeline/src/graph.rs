use forge_core::{ConfigError, check_key_word};

/// The dependencies between steps. A step is a number here: its index in the list of steps.
#[derive(Debug)]
pub(crate) struct Graph {
    dependencies: Vec<Vec<usize>>,
    order: Vec<usize>,
}

/// The name of a step, and the names of the steps that it needs.
pub(crate) type Node = (String, Vec<String>);

impl Graph {
    /// Checks the names and the dependencies, and that the last step needs all the others.
    pub(crate) fn new(steps: &[Node]) -> Result<Self, ConfigError> {
        let Some(last) = steps.len().checked_sub(1) else {
            return Err(invalid_steps("at least one step".to_owned()));
        };
        let mut graph =
            Self { dependencies: resolve_dependencies(steps)?, order: Vec::with_capacity(steps.len()) };
        graph.order = graph.sorted(steps)?;
        let needed = graph.reachable(last, |step| &graph.dependencies[step]);
        let unneeded: Vec<_> =
            (0..steps.len()).filter(|step| !needed[*step]).map(|step| &*steps[step].0).collect();
        if unneeded.is_empty() {
            return Ok(graph);
        }
        let (last, unneeded) = (&steps[last].0, quoted_list(&unneeded));
        let expected = format!("only steps that the last step, `{last}`, needs; it does not need {unneeded}");
        Err(invalid_steps(match graph.needs_all() {
            Some(step) => {
                let step = &steps[step].0;
                format!("{expected}: list `{step}` last, since it needs all the others")
            }
            None => {
                format!("{expected}: name it in a `depends_on` on the way to `{last}`, or remove it")
            }
        }))
    }

    /// The step that needs all the others, directly or through other steps, if there is one.
    fn needs_all(&self) -> Option<usize> {
        let needs_all = |step: &usize| {
            let needed = self.reachable(*step, |step| &self.dependencies[step]);
            needed.into_iter().all(|is_needed| is_needed)
        };
        // Only the last step in the order can need all others: each step comes after those that it needs.
        self.order.last().copied().filter(needs_all)
    }

    /// All steps. Each comes after the steps that it needs.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The steps that this step needs directly.
    pub(crate) fn dependencies_of(&self, step: usize) -> &[usize] {
        &self.dependencies[step]
    }

    /// This step and all steps that need it, directly or through other steps, in [`order`](Self::order).
    pub(crate) fn with_dependents(&self, step: usize) -> Vec<usize> {
        let mut dependants = vec![Vec::new(); self.dependencies.len()];
        for (dependant, dependencies) in self.dependencies.iter().enumerate() {
            for dependency in dependencies {
                dependants[*dependency].push(dependant);
            }
        }
        let reached = self.reachable(step, |step| &dependants[step]);
        self.order.iter().copied().filter(|step| reached[*step]).collect()
    }

    fn reachable<'a>(&self, from: usize, next: impl Fn(usize) -> &'a Vec<usize>) -> Vec<bool> {
        let mut reached = vec![false; self.dependencies.len()];
        let mut waiting = vec![from];
        while let Some(step) = waiting.pop() {
            if !reached[step] {
                reached[step] = true;
                waiting.extend(next(step));
            }
        }
        reached
    }

    fn sorted(&self, steps: &[Node]) -> Result<Vec<usize>, ConfigError> {
        let mut walk = DepthFirstWalk {
            graph: self,
            order: Vec::new(),
            path: Vec::new(),
            done: vec![false; steps.len()],
        };
        for step in 0..steps.len() {
            walk.visit(step).map_err(|cycle| {
                let names: Vec<_> = cycle.iter().map(|step| format!("`{}`", steps[*step].0)).collect();
                invalid_steps(format!("no cycle of dependencies, not {}", names.join(" → ")))
            })?;
        }
        Ok(walk.order)
    }
}

struct DepthFirstWalk<'a> {
    graph: &'a Graph,
    order: Vec<usize>,
    path: Vec<usize>,
    done: Vec<bool>,
}

impl DepthFirstWalk<'_> {
    /// Appends a step to the order, after all steps that it needs. An error is a cycle: its first step is also its
    /// last.
    fn visit(&mut self, step: usize) -> Result<(), Vec<usize>> {
        if self.done[step] {
            return Ok(());
        }
        if let Some(begin) = self.path.iter().position(|earlier| *earlier == step) {
            return Err(self.path[begin..].iter().copied().chain([step]).collect());
        }
        self.path.push(step);
        for dependency in &self.graph.dependencies[step] {
            self.visit(*dependency)?;
        }
        self.path.pop();
        self.done[step] = true;
        self.order.push(step);
        Ok(())
    }
}

/// The dependencies of each step as numbers. Fails if a name is invalid, used twice or unknown.
fn resolve_dependencies(steps: &[Node]) -> Result<Vec<Vec<usize>>, ConfigError> {
    for (index, (name, _)) in steps.iter().enumerate() {
        if name.is_empty() {
            return Err(invalid_steps(format!("a name for each step; step {} has none", index + 1)));
        }
        check_key_word("steps", name).map_err(|error| {
            invalid_steps(format!("for each step {}; `{name}` has one", error.expected()))
        })?;
        if steps[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(invalid_steps(format!("each name once; two steps are called `{name}`")));
        }
    }
    let of_step = |(name, dependencies): &Node| {
        let mut numbers = Vec::new();
        for dependency in dependencies {
            if dependency == name {
                return Err(invalid_steps(format!("no step that depends on itself, as `{name}` does")));
            }
            let Some(number) = steps.iter().position(|(other, _)| other == dependency) else {
                let known: Vec<_> = steps.iter().map(|(name, _)| &**name).collect();
                let known = quoted_list(&known);
                return Err(invalid_steps(format!(
                    "names of steps in `depends_on`; `{name}` depends on `{dependency}`, but the steps are {known}"
                )));
            };
            if !numbers.contains(&number) {
                numbers.push(number);
            }
        }
        Ok(numbers)
    };
    steps.iter().map(of_step).collect()
}

fn invalid_steps(expected: String) -> ConfigError {
    ConfigError::new("steps", expected)
}

/// The names in backticks, for an error message.
pub(crate) fn quoted_list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(steps: &[(&str, &[&str])]) -> Result<Graph, String> {
        let node = |(name, needs): &(&str, &[&str])| {
            ((*name).to_owned(), needs.iter().map(|name| (*name).to_owned()).collect())
        };
        let nodes: Vec<Node> = steps.iter().map(node).collect();
        Graph::new(&nodes).map_err(|error| error.to_string())
    }

    #[test]
    fn steps_are_put_in_order_whatever_the_order_of_the_list() {
        let graph = graph(&[("b", &["a"]), ("a", &[]), ("c", &["a", "a"]), ("d", &["b", "c"])]).unwrap();
        assert_eq!(graph.order(), [1, 0, 2, 3]);
        assert_eq!(graph.dependencies_of(2), [1]);
        assert_eq!(graph.with_dependents(0), [0, 3]);
        assert_eq!(graph.with_dependents(1), [1, 0, 2, 3]);
    }

    #[test]
    fn what_is_no_graph_is_refused_and_named() {
        for (steps, said) in [
            (&[][..], "`steps`: expected at least one step"),
            (&[("a", &[][..]), ("", &["a"])], "a name for each step; step 2 has none"),
            (
                &[("user:session", &[])],
                "a name without `:`, which separates the parts of a cache key; `user:session` has one",
            ),
            (&[("a", &[]), ("a", &[])], "two steps are called `a`"),
            (&[("a", &["x"]), ("b", &["a"])], "`a` depends on `x`, but the steps are `a`, `b`"),
            (&[("a", &["a"])], "no step that depends on itself, as `a` does"),
            (&[("a", &["c"]), ("b", &["a"]), ("c", &["b"])], "not `a` → `c` → `b` → `a`"),
            (&[("x", &["y"]), ("y", &["x"]), ("c", &[])], "not `x` → `y` → `x`"),
            (
                &[("a", &[]), ("b", &[]), ("c", &[]), ("d", &["b"])],
                "the last step, `d`, needs; it does not need `a`, `c`: name it in a `depends_on`",
            ),
            (
                &[("user", &["app"]), ("app", &[])],
                "the last step, `app`, needs; it does not need `user`: list `user` last, since it needs all",
            ),
            (&[("c", &["b"]), ("b", &["a"]), ("a", &[])], "list `c` last"),
            (&[("d", &["b", "c"]), ("b", &["a"]), ("c", &["a"]), ("a", &[])], "list `d` last"),
        ] {
            let error = graph(steps).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
