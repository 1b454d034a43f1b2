//! Measures what being watched costs those who write and read, and how fast changes are seen.
//!
//! The cost is processor time of the thread that does the work, as a ratio to the same work with
//! nobody watching, of the same round. In a virtual machine that counts instructions as time the
//! figures are the same in every run.

mod latency;
mod load;
mod report;
mod setup;
mod watcher;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

pub(crate) use watcher::{mark, watch_by_inotify};

use load::{Load, Where};
use watcher::Watcher;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The daemon to measure
    #[arg(long, value_name = "FILE")]
    ksyncd: PathBuf,
    /// Where to work: the file system to try
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many files each load has to do with
    #[arg(long, default_value_t = 20_000)]
    files: usize,
    /// How many directories the largest tree has
    #[arg(long, default_value_t = 1_000_000)]
    directories: usize,
    /// Only these watchers
    #[arg(long = "watcher", value_enum)]
    watchers: Vec<Watcher>,
    /// Where to keep the figures, besides printing them
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// What one load has cost under one watcher, in all rounds, with what it cost under nobody.
#[derive(Debug)]
pub(crate) struct Cost {
    watcher: Watcher,
    load: Load,
    place: Where,
    /// Processor time, watched and not.
    rounds: Vec<(Duration, Duration)>,
}

/// Runs every load under every watcher, and gives the report.
pub(crate) fn measure(arguments: &Arguments) -> Result<String> {
    let base = match &arguments.directory {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    };
    let base = base.context("make a folder to work in")?;
    let (root, beside) = (base.path().join("root"), base.path().join("beside"));
    for place in [&root, &beside] {
        load::prepare(place, arguments.files)?;
    }
    let watchers =
        if arguments.watchers.is_empty() { Watcher::ALL.to_vec() } else { arguments.watchers.clone() };
    let mut costs: Vec<Cost> = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("perf: round {round} of {}", arguments.rounds);
        let mut before = run_all(&root, &beside, arguments.files)?;
        for watcher in &watchers {
            let running = watcher.start(&arguments.ksyncd, &root)?;
            let watched = run_all(&root, &beside, arguments.files)?;
            drop(running);
            // Directories grow, journals fill: unwatched is what it takes before and after.
            let after = run_all(&root, &beside, arguments.files)?;
            let alone = before.iter().zip(&after).map(|((_, _, one), (_, _, other))| (*one + *other) / 2);
            for ((load, place, watched), alone) in watched.into_iter().zip(alone) {
                let is_it =
                    |cost: &&mut Cost| cost.watcher == *watcher && cost.load == load && cost.place == place;
                match costs.iter_mut().find(is_it) {
                    Some(cost) => cost.rounds.push((watched, alone)),
                    None => {
                        costs.push(Cost { watcher: *watcher, load, place, rounds: vec![(watched, alone)] });
                    }
                }
            }
            before = after;
        }
    }
    let mut latencies = Vec::new();
    for watcher in &watchers {
        latencies.extend(latency::measure(*watcher, &arguments.ksyncd, &root, arguments.files)?);
    }
    let mut setups = Vec::new();
    let begins_its_own_way = |one: &Watcher| !matches!(one, Watcher::Mark | Watcher::InotifyWrites);
    let setting_up: Vec<Watcher> = watchers.iter().copied().filter(begins_its_own_way).collect();
    for (name, directories) in [("few", 1_000), ("many", arguments.directories)] {
        eprintln!("perf: {directories} directories");
        let top = base.path().join(name);
        setups.extend(setup::measure(&setting_up, &arguments.ksyncd, &top, directories)?);
    }
    Ok(report::render(arguments, &costs, &latencies, &setups))
}

/// Each load inside of the root and beside it, with its processor time.
fn run_all(root: &Path, beside: &Path, files: usize) -> Result<Vec<(Load, Where, Duration)>> {
    let mut times = Vec::new();
    for load in Load::ALL {
        for (place, directory) in [(Where::Inside, root), (Where::Beside, beside)] {
            let time = load.run(directory, files).with_context(|| format!("run {load:?}"))?;
            times.push((load, place, time));
        }
    }
    Ok(times)
}
