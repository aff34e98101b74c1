use forge_core::{AuthenticationError, FetchContext, TokenData, TokenFetcher, async_trait};
use forge_pipeline::TokenFetchPipeline;
use proptest::prelude::*;

struct NamedStep(String, Vec<String>);

#[async_trait]
impl TokenFetcher for NamedStep {
    fn name(&self) -> &str {
        &self.0
    }

    fn depends_on(&self) -> Vec<&str> {
        self.1.iter().map(String::as_str).collect()
    }

    async fn fetch(&self, _: &FetchContext) -> Result<TokenData, AuthenticationError> {
        Ok(TokenData::new("t"))
    }
}

/// The dependencies of each step. No step depends on itself directly.
fn graphs() -> impl Strategy<Value = Vec<Vec<usize>>> {
    (1_usize..=12).prop_flat_map(|steps| {
        let edges = prop::collection::vec((0..steps, 0..steps), 0..=2 * steps);
        edges.prop_map(move |edges| {
            let mut graph = vec![Vec::new(); steps];
            for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
                graph[from].push(to);
            }
            graph
        })
    })
}

/// The steps that each step can reach, found by trying all paths.
fn reachable(graph: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let mut reach = vec![vec![false; graph.len()]; graph.len()];
    for (from, to) in graph.iter().enumerate() {
        for to in to {
            reach[from][*to] = true;
        }
    }
    for over in 0..graph.len() {
        for from in 0..graph.len() {
            for to in 0..graph.len() {
                reach[from][to] |= reach[from][over] && reach[over][to];
            }
        }
    }
    reach
}

proptest! {
    #![proptest_config(crate::cases(1_000))]

    #[test]
    fn cycles_are_always_found_and_named_and_nothing_else_is_taken_for_one(graph in graphs()) {
        let name = |step: &usize| format!("s{step}");
        let fetchers = (0..graph.len()).map(|step| NamedStep(name(&step), graph[step].iter().map(name).collect()));
        let built = TokenFetchPipeline::builder().steps(fetchers).build().map_err(|error| error.to_string());

        let reach = reachable(&graph);
        let last = graph.len() - 1;
        if (0..graph.len()).any(|step| reach[step][step]) {
            let error = built.expect_err("a cycle");
            let (_, path) = error.split_once(", not ").expect("a path");
            let path: Vec<usize> =
                path.split(" → ").map(|name| name.trim_matches('`')[1..].parse().expect("a step")).collect();
            prop_assert!(path.len() > 2 && path.first() == path.last(), "{error}");
            prop_assert!(path.windows(2).all(|pair| graph[pair[0]].contains(&pair[1])), "{error}");
        } else if (0..last).any(|step| !reach[last][step]) {
            let error = built.expect_err("needless steps");
            for (step, is_needed) in reach[last].iter().enumerate().take(last) {
                prop_assert_eq!(error.contains(&format!("`s{step}`")), !is_needed, "{}", error);
            }
        } else {
            prop_assert!(built.is_ok());
        }
    }
}
