//! Tries capture with operations drawn from seeds, against the file system itself and a model.
//!
//! Several processes change the same few names by every system call there is. After each burst
//! the paths that capture has told have to cover every path that has changed, the tree has to be
//! what a model in memory predicts (where the processes took turns), and the replica of a running
//! ksyncd has to equal the source. A seed that fails is shrunk to the fewest operations; put its
//! case into `regressions/` and it is tried first from then on.
//!
//! `cargo test --test differential -- --capture ebpf --seeds 0..200` tries more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod model;
mod operation;
mod perform;
mod processes;
mod replica;
mod snapshot;
mod trial;
mod watch;

use std::cell::RefCell;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use sync_user::capture::{self, Backend};

use operation::{Case, cases};
use trial::{Amount, Bench};

/// Cases that failed once, shrunk.
const REGRESSIONS: &[(&str, &str)] = &[("every operation", include_str!("regressions/every-operation.json"))];

/// After a failure, waiting for the next one is shorter: shrinking would take hours.
const PATIENCE_OF_SHRINKING: Duration = Duration::from_secs(3);

#[derive(Debug, Parser)]
struct Arguments {
    /// How to see changes
    #[arg(long, value_enum, default_value_t = CaptureFlag::Fanotify)]
    capture: CaptureFlag,
    /// Seeds to draw cases from: FIRST..END
    #[arg(long, value_parser = seeds, default_value = "0..12")]
    seeds: Range<u64>,
    /// Where to work: the file system to try
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The daemon that replicates
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_ksyncd"))]
    ksyncd: PathBuf,
    /// Detach each hook in turn instead, and expect that this is noticed
    #[arg(long)]
    mutate: bool,
    /// Serve operations on this root: started by the test itself
    #[arg(long, value_name = "DIR", hide = true)]
    serve: Option<PathBuf>,
    #[arg(long, hide = true)]
    outside: Option<PathBuf>,
    #[arg(long, hide = true)]
    bind: Option<PathBuf>,
    /// Given by `cargo test`
    #[arg(long, hide = true)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CaptureFlag {
    Ebpf,
    Fanotify,
}

impl CaptureFlag {
    fn backend(self) -> (Backend, &'static str) {
        match self {
            Self::Ebpf => (Backend::Ebpf, "ebpf"),
            Self::Fanotify => (Backend::Fanotify, "fanotify"),
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("FIRST..END is needed")?;
    let number = |text: &str| text.parse().map_err(|error| format!("{text}: {error}"));
    Ok(number(first)?..number(end)?)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let (Some(root), Some(outside)) = (&arguments.serve, &arguments.outside) {
        processes::serve(root, outside.clone(), arguments.bind.as_deref()).unwrap();
        return ExitCode::SUCCESS;
    }
    let failures = if arguments.mutate { mutate(&arguments) } else { differential(&arguments) };
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A folder to work in, and the configuration of a capture there.
fn place(arguments: &Arguments) -> (tempfile::TempDir, capture::Config) {
    let directory = arguments.directory.clone().unwrap_or_else(std::env::temp_dir);
    let base = tempfile::Builder::new().prefix("ksyncd-differential-").tempdir_in(directory).unwrap();
    let root = trial::source(base.path());
    std::fs::create_dir(&root).unwrap();
    let config = capture::Config::new(root, arguments.capture.backend().0);
    (base, config)
}

fn regressions() -> impl Iterator<Item = (&'static str, Case)> {
    REGRESSIONS.iter().map(|(name, text)| (*name, serde_json::from_str(text).unwrap()))
}

/// Tries all seeds; says how many failed.
fn differential(arguments: &Arguments) -> usize {
    let (base, config) = place(arguments);
    let name = arguments.capture.backend().1;
    let bench = RefCell::new(Bench::new(base.path(), &config, Some((&arguments.ksyncd, name))));
    let (mut sum, mut failures) = (Amount::default(), 0);
    for (title, case) in regressions() {
        match bench.borrow_mut().run(&case) {
            Ok(amount) => add(&mut sum, amount),
            Err(what) => {
                failures += 1;
                println!("{title}: {what}");
            }
        }
    }
    for seed in arguments.seeds.clone() {
        match try_seed(seed, &bench) {
            Ok(amount) => add(&mut sum, amount),
            Err((case, what)) => {
                failures += 1;
                println!("seed {seed}: {what}\n{}", serde_json::to_string(&case).unwrap());
            }
        }
    }
    println!(
        "differential {name}: {} cases, {} operations done, {} paths changed, {} gaps, {failures} failed",
        REGRESSIONS.len() + arguments.seeds.clone().count(),
        sum.operations,
        sum.changed,
        sum.gaps
    );
    failures
}

fn add(sum: &mut Amount, one: Amount) {
    sum.operations += one.operations;
    sum.changed += one.changed;
    sum.gaps += one.gaps;
}

/// Tries one seed; of a failure gives the smallest case that fails too.
fn try_seed(seed: u64, bench: &RefCell<Bench>) -> Result<Amount, (Case, String)> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: 1, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let amount = RefCell::new(Amount::default());
    // The outcome is known where they take turns; together they collide.
    let result = runner.run(&cases(seed % 2 == 1), |case| {
        let result = bench.borrow_mut().run(&case);
        match result {
            Ok(one) => {
                *amount.borrow_mut() = one;
                Ok(())
            }
            Err(what) => {
                bench.borrow_mut().patience = PATIENCE_OF_SHRINKING;
                Err(TestCaseError::fail(what))
            }
        }
    });
    bench.borrow_mut().patience = trial::PATIENCE;
    match result {
        Ok(()) => Ok(amount.into_inner()),
        Err(TestError::Fail(what, case)) => Err((case, what.to_string())),
        Err(TestError::Abort(what)) => panic!("{what}"),
    }
}

/// Detaches each hook in turn; says how many were not missed by anybody.
#[cfg(feature = "mutation")]
fn mutate(arguments: &Arguments) -> usize {
    let (_, name) = arguments.capture.backend();
    let mut unnoticed = 0;
    for hook in capture::hooks(arguments.capture.backend().0) {
        let (base, config) = place(arguments);
        let mut bench = Bench::new(base.path(), &config.without(hook), None);
        bench.patience = PATIENCE_OF_SHRINKING;
        let noticed = regressions().find_map(|(_, case)| bench.run(&case).err());
        match noticed {
            Some(what) => println!("differential {name} without {hook}: {what}"),
            None => {
                unnoticed += 1;
                println!("differential {name} without {hook}: NOT NOTICED");
            }
        }
    }
    unnoticed
}

#[cfg(not(feature = "mutation"))]
fn mutate(_arguments: &Arguments) -> usize {
    println!("hooks can be detached only in a build with the feature `mutation`");
    1
}
