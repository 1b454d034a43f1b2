//! Has the program write down what it says of itself: references, man pages, completions.

use std::path::Path;

use anyhow::Result;

use crate::build;
use crate::process::run;

/// Writes the pages in `docs/` anew.
pub(crate) fn docs() -> Result<()> {
    run(writer().arg("--write"))
}

/// Writes man pages, completions and the configuration to begin with into `root`, as a package
/// has them.
pub(crate) fn package_into(root: &Path) -> Result<()> {
    run(writer().arg("--package").arg(root))
}

/// The test that checks the pages writes them, too.
fn writer() -> std::process::Command {
    let mut cargo = build::cargo();
    cargo.args(["test", "--quiet", "--package", "sync-user", "--test", "docs", "--"]);
    cargo
}
