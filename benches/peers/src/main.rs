use std::process::ExitCode;

fn main() -> ExitCode {
    match forge_peers::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
