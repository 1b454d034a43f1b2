//! Runs the benchmarks of `perf` with an optimised daemon.

use anyhow::Result;

use crate::process::run;
use crate::{build, packages};

/// Passes `arguments` on to the benchmark program.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    for needs in [packages::BUILD, packages::RUN, packages::BENCH] {
        packages::install(needs)?;
    }
    let daemon = build::build()?;
    run(build::cargo()
        .args(["run", "--release", "--quiet", "--package", "perf", "--"])
        .arg("--ksyncd")
        .arg(daemon)
        .args(arguments))
}
