//! A job that reads all its settings from the environment. The README has the table of settings.

use requestforge::{FromEnv, blocking::HttpClient};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = HttpClient::from_env()?;
    println!("{}", client.get("/users").send()?.error_for_status()?.text()?);
    Ok(())
}
