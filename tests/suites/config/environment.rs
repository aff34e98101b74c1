//! The example `small_job`, which variables configure completely.

use std::process::{Command, Output};

use requestforge::{FromEnv, HttpClient, ServiceConfig, blocking};

use crate::world::World;

/// Runs the example with these variables, and without others of `requestforge`.
fn run(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "requestforge", "--features", "blocking,config"]);
    command.args(["--example", "small_job"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("REQUESTFORGE_") {
            command.env_remove(name);
        }
    }
    for (name, value) in variables {
        command.env(format!("REQUESTFORGE_{name}"), value);
    }
    command.output().expect("cargo")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_job_takes_all_from_its_environment() {
    let world = World::start().await;
    let (base_url, token_url) = (world.api.base_url(), world.server.token_url());
    let common =
        [("BASE_URL", &*base_url), ("TOKEN_URL", &*token_url), ("CLIENT_ID", world.server.client_id())];
    for (secret, value) in
        [("CLIENT_SECRET", world.server.client_secret()), ("CLIENT_SECRET_FILE", world.secret.path())]
    {
        let run = run(&[&common[..], &[(secret, value)]].concat());
        let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success() && told.contains("{\"path\":\"/users\"}"), "{secret}: {told}\n{errors}");
    }
    assert_eq!((world.api.accepted(), world.server.token_calls()), (2, 2));
}

#[tokio::test]
async fn what_is_missing_or_forbids_a_client_is_named() {
    for error in [
        HttpClient::from_env_with_prefix("NOBODY_SETS_").err(),
        blocking::HttpClient::from_env_with_prefix("NOBODY_SETS_").err(),
    ] {
        assert_eq!(error.expect("no service").fields(), ["NOBODY_SETS_BASE_URL"]);
    }
    let config =
        serde_json::from_str::<ServiceConfig>("{\"base_url\": \"http://127.0.0.1:1\"}").expect("a service");
    assert!(HttpClient::from_service_config(&config).is_ok());
    let error = blocking::HttpClient::from_service_config(&config).expect_err("within a runtime");
    assert_eq!(error.fields(), ["blocking"]);
}

#[test]
fn a_small_job_stands_in_the_readme_and_is_at_most_eight_lines() {
    let (readme, example) =
        (include_str!("../../../README.md"), include_str!("../../../examples/small_job.rs"));
    let (_, job) = example.split_once("\n\n").expect("a line on what it is");
    assert!(readme.contains(&format!("\n```rust,ignore\n{job}```\n")), "{job}");
    assert!(job.lines().count() <= 8, "{job}");
}

#[test]
fn every_field_stands_in_the_readme_with_its_variable() {
    let unknown = serde_json::from_str::<ServiceConfig>("{\"unknown\": 1}").expect_err("refused").to_string();
    let (_, known) = unknown.split_once("expected one of ").expect("the known ones");
    let known: Vec<_> = known.split('`').skip(1).step_by(2).collect();
    assert!(known.len() > 25, "{unknown}");
    let readme = include_str!("../../../README.md");
    for field in known {
        assert!(readme.contains(&format!("`{field}`")), "{field}");
        let is_table = matches!(field, "headers" | "extra_params" | "secret_query_params");
        assert_eq!(readme.contains(&format!("`{}`", field.to_uppercase())), !is_table, "{field}");
    }
}

#[test]
fn a_small_job_says_which_variable_is_wrong() {
    let run = run(&[("BASE_URL", "https://api.example.com"), ("TIMEOT", "5s")]);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(!run.status.success(), "{errors}");
    assert!(errors.contains("Error: `REQUESTFORGE_TIMEOT`: unknown variable, expected one of"), "{errors}");
}
