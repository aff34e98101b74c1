//! A job whose settings are all in its environment; the table of them is in the README.

use requestforge::{FromEnv, blocking::HttpClient};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = HttpClient::from_env()?;
    println!("{}", client.get("/users").send()?.error_for_status()?.text()?);
    Ok(())
}
