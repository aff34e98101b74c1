//! The README's second command, started as a new user starts it.

use tokio::process::Command;

use crate::alone;

#[tokio::test]
async fn every_promise_of_the_fleet_example_holds() {
    let _alone = alone().await;
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "forge-examples", "--bin", "fleet"])
        .env_remove("REQUESTFORGE_REDIS_URL")
        .output()
        .await
        .expect("cargo");
    let (told, errors) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{told}\n{errors}");
    println!("{told}");
}
