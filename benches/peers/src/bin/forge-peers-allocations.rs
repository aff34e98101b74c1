//! Counts the allocations of one case. It is a separate program, because its allocator makes each allocation
//! slower.
//!
//! `forge-peers-allocations CASE N` prints how many allocations N repetitions made.

use std::env;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

fn main() -> ExitCode {
    match count() {
        Ok(blocks) => {
            println!("{blocks}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count() -> Result<u64, forge_peers::Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let [case, times] = words.as_slice() else { return Err("usage: CASE N".into()) };
    let times = times.parse()?;
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut before = 0;
    forge_peers::count::run(case, times, || before = dhat::HeapStats::get().total_blocks)?;
    Ok(dhat::HeapStats::get().total_blocks - before)
}
