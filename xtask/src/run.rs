//! Runs the program that was just built.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{build, packages};

/// The demonstration, or `ksyncd run` with `arguments`; does not come back if that starts.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    packages::install(packages::BUILD)?;
    if arguments.is_empty() {
        packages::install(packages::RUN)?;
    }
    let program = build::build()?;
    let mut command = Command::new(&program);
    if arguments.is_empty() {
        command.arg("demo");
    } else {
        command.arg("run").args(arguments);
    }
    // In place of this process, so that signals and the exit status need no passing on.
    Err(command.exec()).with_context(|| format!("start {}", program.display()))
}
