//! Starts ksyncd.

use std::process::ExitCode;

fn main() -> ExitCode {
    sync_user::cli::main().into()
}
