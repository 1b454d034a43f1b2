//! Measures ksyncd side by side with lsyncd and rsync: all of them over the same SSH server on
//! loopback, on the same files, in one run, so that only the ratios need to be believed.

mod bench;
mod contender;
mod place;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Measures ksyncd side by side with lsyncd and rsync
#[derive(Debug, Parser)]
struct Arguments {
    /// The daemon to measure
    #[arg(long, value_name = "FILE")]
    ksyncd: PathBuf,
    /// Only this benchmark; may be given several times
    #[arg(long, value_enum)]
    only: Vec<bench::Bench>,
    /// Where to keep the figures, besides printing them
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

fn main() -> ExitCode {
    match measure(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let results = bench::run(&arguments.ksyncd, &arguments.only)?;
    let report = report::render(&results);
    print!("{report}");
    if let Some(folder) = &arguments.keep {
        let file = report::keep(&report, folder)?;
        println!("\nkept in {}", file.display());
    }
    Ok(())
}
