//! `cargo e2e`: deploys the template with the functions onto an emulator of AWS, and tests it there. What it does is in `run`.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/run");
    let ended = Command::new(script).args(std::env::args_os().skip(1)).status();
    match ended {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{script} can't be run: {error}");
            ExitCode::FAILURE
        }
    }
}
