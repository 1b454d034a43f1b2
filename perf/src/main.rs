//! Measures ksyncd side by side with what it replaces, in one run, so that only the ratios need
//! to be believed: replication against lsyncd and rsync, capture against inotify and against
//! nobody watching.

mod capture;
mod machine;
mod replication;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

/// Measures ksyncd side by side with what it replaces
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How long changes take to the target, against lsyncd and rsync over the same SSH server
    Replication {
        /// The daemon to measure
        #[arg(long, value_name = "FILE")]
        ksyncd: PathBuf,
        /// Only this benchmark; may be given several times
        #[arg(long, value_enum)]
        only: Vec<replication::Bench>,
        /// Only this program; may be given several times
        #[arg(long, value_enum)]
        program: Vec<replication::Contender>,
        /// Put a line with a round trip of 45 ms before the target, of 1 Gbit/s or so many Mbit/s
        #[arg(long, value_name = "MBIT", num_args = 0..=1, default_missing_value = "1000")]
        far: Option<u32>,
        /// Where to keep the figures, besides printing them
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
        /// What to call the figures that are kept
        #[arg(long, default_value = "replication")]
        name: String,
    },
    /// What being watched costs those who write and read, against inotify on every directory
    Capture(capture::Arguments),
    /// Watch every directory by inotify, as lsyncd does: one of the contenders
    #[command(hide = true)]
    Inotify {
        root: PathBuf,
        /// Ask for each write, too, which lsyncd does not
        #[arg(long)]
        writes: bool,
    },
    /// Ask the kernel for changes and ignore them, as eBPF capture does: its own part of the cost
    #[command(hide = true)]
    Mark { root: PathBuf },
}

fn main() -> ExitCode {
    match measure(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(command: Command) -> anyhow::Result<()> {
    let (name, report, keep) = match command {
        Command::Replication { ksyncd, only, program, far, keep, name } => {
            let far = far.map(|mbit| replication::Line { mbit });
            (name, replication::measure(&ksyncd, (&only, &program), far)?, keep)
        }
        Command::Capture(arguments) => ("capture".to_owned(), capture::measure(&arguments)?, arguments.keep),
        Command::Inotify { root, writes } => return capture::watch_by_inotify(&root, writes),
        Command::Mark { root } => return capture::mark(&root),
    };
    print!("{report}");
    if let Some(folder) = keep {
        println!("\nkept in {}", self::keep(&report, &name, &folder)?.display());
    }
    Ok(())
}

/// Keeps a report under the day and its name, and says where.
fn keep(report: &str, name: &str, folder: &Path) -> anyhow::Result<PathBuf> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let day = now.split('T').next().unwrap_or(&now);
    let file = folder.join(format!("{day}-{name}.md"));
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    fs::write(&file, report).with_context(|| format!("write {}", file.display()))?;
    Ok(file)
}
