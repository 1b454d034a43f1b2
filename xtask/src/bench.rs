//! Runs the benchmarks of `perf` with an optimised daemon.

use anyhow::Result;

use crate::process::run;
use crate::{build, packages, workspace};

/// Passes `arguments` on to the benchmark program; without any, the figures are kept.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    for needs in [packages::BUILD, packages::RUN, packages::BENCH] {
        packages::install(needs)?;
    }
    let daemon = build::build()?;
    let mut command = build::cargo();
    command.args(["run", "--release", "--quiet", "--package", "perf", "--", "--ksyncd"]).arg(daemon);
    if arguments.is_empty() {
        command.arg("--keep").arg(workspace().join("perf/runs"));
    }
    run(command.args(arguments))
}
