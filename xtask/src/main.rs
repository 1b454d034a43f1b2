//! Builds, demonstrates and tests ksyncd: `cargo xtask --help` lists the commands.

mod bench;
mod bpf;
mod build;
mod docs;
mod package;
mod packages;
mod process;
mod python;
mod run;
mod test;
mod tidy;
mod vm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
/// Builds, demonstrates and tests ksyncd, and installs what that takes after saying so
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything and run: without arguments a demonstration on this machine, with
    /// arguments `ksyncd run ARGUMENTS`
    #[command(disable_help_flag = true)]
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Check and test everything: format, lints, layout, unit, integration, kernels in virtual machines
    Test {
        /// Only this part; may be given several times
        #[arg(long, value_enum)]
        only: Vec<test::Part>,
    },
    /// Build the eBPF object, the static receiver and the daemon
    Build,
    /// Write the references in docs/ anew, from what the program says of itself
    Docs,
    /// Make the Debian package in target/package
    Package {
        /// Install, upgrade and purge it in a small Debian of its own, which is fetched
        #[arg(long)]
        test: bool,
    },
    /// Run a command in a virtual machine on a Debian kernel, with the built programs inside
    Vm(vm::Arguments),
    /// Try every capture on every file system and kernel, and write docs/support.md
    Matrix,
    /// Check the layout of the sources: who imports whom, lengths, names
    Tidy,
    /// Measure side by side with what ksyncd replaces, and keep the figures in perf/runs
    Bench {
        /// Only this; may be given several times
        #[arg(value_enum)]
        only: Vec<bench::Subject>,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run { arguments } => run::run(&arguments),
        Command::Test { only } => test::test(&only),
        Command::Build => packages::install(packages::BUILD).and_then(|()| build::build().map(drop)),
        Command::Docs => packages::install(packages::BUILD).and_then(|()| docs::docs()),
        Command::Package { test } => package::package(test),
        Command::Vm(arguments) => vm::run(&arguments),
        Command::Matrix => vm::matrix(),
        Command::Tidy => tidy::check(),
        Command::Bench { only } => bench::bench(&only),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
