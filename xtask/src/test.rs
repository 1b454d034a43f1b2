//! Checks and tests everything, part by part, and sums it up.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::process::run;
use crate::{build, packages, python, tidy, vm};

/// A part of the test run. Each fails for a reason of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The sources are formatted
    Format,
    /// The layout is as ARCHITECTURE.md says
    Tidy,
    /// The eBPF object and the static receiver can be built
    Build,
    /// No lint has anything to say, for the daemon and for the receiver alone
    Lint,
    /// Unit, property and integration tests, with a real SSH server on loopback
    Tests,
    /// The whole program by eBPF and by fanotify, on Debian's kernels in virtual machines
    Kernels,
}

/// Runs the parts in `only`, or all.
pub(crate) fn test(only: &[Part]) -> Result<()> {
    for needs in [packages::BUILD, packages::RUN, packages::TEST] {
        packages::install(needs)?;
    }
    let parts = if only.is_empty() { Part::value_variants() } else { only };
    let mut lines = Vec::new();
    let mut failed = 0;
    for part in parts {
        let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        eprintln!("xtask: {name}");
        let began = Instant::now();
        let result = run_part(*part);
        let verdict = match &result {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                failed += 1;
                eprintln!("xtask: {name}: {error:#}");
                format!("FAILED: {error:#}")
            }
        };
        lines.push(format!("{name:<10} {:>6.1} s  {verdict}", began.elapsed().as_secs_f64()));
    }
    println!("\n{}\n{} passed, {failed} failed", lines.join("\n"), lines.len() - failed);
    if failed > 0 {
        bail!("{failed} of {} parts failed", lines.len());
    }
    Ok(())
}

fn run_part(part: Part) -> Result<()> {
    match part {
        Part::Format => {
            run(build::cargo().args(["fmt", "--all", "--check"])).context("`cargo fmt --all` mends it")
        }
        Part::Tidy => tidy::check(),
        Part::Build => build::embedded(),
        Part::Lint => {
            run(build::cargo().args(["clippy", "--all-targets", "--quiet", "--", "--deny", "warnings"]))?;
            let receiver =
                ["clippy", "--package", "sync-user", "--no-default-features", "--lib", "--bins", "--quiet"];
            run(build::cargo().args(receiver).args(["--", "--deny", "warnings"]))
        }
        Part::Tests => {
            // Without it one test fails, and the others say what they have to say.
            let python = python::install();
            run(build::cargo().args(["test", "--quiet", "--package", "sync-ebpf", "--lib"]))?;
            let tested = run(build::cargo().args(["test"]));
            python.and(tested)
        }
        Part::Kernels => vm::test(),
    }
}
