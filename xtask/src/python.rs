//! Installs the Python packages that tests compare with, after saying which and why, into an
//! environment of their own in `target/python`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{run, succeeds};
use crate::workspace;

/// The package, in the version that tests were written with, and a program that needs it.
const PACKAGE: &str = "hdrhistogram==0.10.8";
const PROBE: &str = "from importlib.metadata import version; assert version('hdrhistogram') == '0.10.8'";

/// Makes the environment, unless it is there.
pub(crate) fn install() -> Result<()> {
    let python = python();
    if succeeds(Command::new(&python).args(["-c", PROBE])) {
        return Ok(());
    }
    let folder = workspace().join("target/python");
    eprintln!(
        "xtask: installing to compare latency logs in tests: {PACKAGE}, by pip into {}",
        folder.display()
    );
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = ["-m", "pip", "--quiet", "--disable-pip-version-check", "install", PACKAGE];
    run(Command::new(&python).args(pip)).context("is the registry of Python's packages in reach?")
}

fn python() -> PathBuf {
    workspace().join("target/python/bin/python")
}
