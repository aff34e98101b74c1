//! Makes of the page's blocks that the library alone cannot compile some that are compiled here.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let page = "../../MIGRATING.md";
    println!("cargo::rerun-if-changed={page}");
    let text = fs::read_to_string(page)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("page.md"), text.replace("```rust,ignore", "```rust,no_run"))
}
