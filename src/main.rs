//! The command `triggerly`.

use std::process::ExitCode;

fn main() -> ExitCode {
    triggerly::heap::keep_little();
    triggerly::cli::run(std::env::args_os())
}
