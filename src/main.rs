//! The command `triggerly`.

use std::process::ExitCode;

fn main() -> ExitCode {
    triggerly::cli::run(std::env::args_os())
}
