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

mod aio;
mod model;
mod operation;
mod perform;
mod processes;
mod replica;
mod snapshot;
mod storm;
mod trial;
mod watch;

use std::cell::RefCell;
use std::collections::BTreeSet;
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
const REGRESSIONS: &[(&str, &str)] = &[
    (EVERY_OPERATION, include_str!("regressions/every-operation.json")),
    ("a write by handle", include_str!("regressions/by-handle.json")),
    ("a directory that is made anew", include_str!("regressions/directory-made-anew.json")),
    ("a hard link whose name is taken over", include_str!("regressions/name-taken-over.json")),
    ("a file that comes in from outside while it is open", include_str!("regressions/comes-in-open.json")),
    ("a hard link whose name moves out", include_str!("regressions/name-moved-out.json")),
];

/// The case that does nearly each thing by itself, so that it shows which hook tells of it.
const EVERY_OPERATION: &str = "every operation";

/// After a failure, waiting for the next one is shorter: shrinking would take hours.
const SHRINKING_PATIENCE: Duration = Duration::from_secs(4);

/// Milliseconds that shrinking one case may take.
const SHRINKING_MAX_MS: u32 = 180_000;

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
    /// How long capture and replica may take, on a busy machine
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// A case to try instead, as it is printed for a seed that has failed; once for each seed
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// Detach each hook in turn instead, and expect that this is noticed
    #[arg(long)]
    mutate: bool,
    /// Overrun the smallest eBPF ring with so many events instead
    #[arg(long, value_name = "EVENTS")]
    storm: Option<usize>,
    /// Serve operations on this root: started by the test itself
    #[arg(long, value_name = "DIR", hide = true)]
    serve: Option<PathBuf>,
    #[arg(long, hide = true)]
    outside: Option<PathBuf>,
    #[arg(long, hide = true)]
    bind: Option<PathBuf>,
    /// Given by `cargo test`, as to all tests
    #[arg(long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    /// Tests to run, by a part of their name: this one has but one
    #[arg(hide = true)]
    filter: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CaptureFlag {
    Ebpf,
    Fanotify,
}

impl CaptureFlag {
    /// The backend, its name, and whether it sees stores through a map before the close.
    fn backend(self) -> (Backend, &'static str, bool) {
        match self {
            Self::Ebpf => (Backend::Ebpf, "ebpf", true),
            Self::Fanotify => (Backend::Fanotify, "fanotify", false),
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
    if arguments.filter.as_ref().is_some_and(|part| !"differential".contains(part.as_str())) {
        return ExitCode::SUCCESS;
    }
    if let Some(operations) = arguments.storm {
        let (base, _) = place(&arguments);
        let result = storm::storm(&arguments.ksyncd, base.path(), operations);
        println!("storm: {result:?}");
        return if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
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

/// Tries the case that is asked for, or the regressions and all seeds; says how many failed.
fn differential(arguments: &Arguments) -> usize {
    let (base, config) = place(arguments);
    let (_, name, sees_maps) = arguments.capture.backend();
    let replicate = Some((arguments.ksyncd.as_path(), name));
    let patience = Duration::from_secs(arguments.patience);
    let bench = Bench::new(base.path(), &config, sees_maps, replicate, patience).unwrap();
    let bench = RefCell::new(bench);
    let (mut sum, mut cases, mut failures) = (Amount::default(), 0, 0);
    let mut unsupported = BTreeSet::new();
    let mut count = |result: Result<Amount, String>| {
        cases += 1;
        match result {
            Ok(amount) => sum.add(amount),
            Err(what) => {
                failures += 1;
                println!("{what}");
            }
        }
    };
    if let Some(file) = &arguments.case {
        let case = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for _ in arguments.seeds.clone() {
            count(bench.borrow_mut().run(&case));
        }
    } else {
        for (title, case) in regressions() {
            let result = bench.borrow_mut().run(&case).and_then(|amount| {
                if title == EVERY_OPERATION {
                    unsupported = refused(&amount)?;
                }
                Ok(amount)
            });
            count(result.map_err(|what| format!("{title}: {what}")));
        }
        for seed in arguments.seeds.clone() {
            let result = try_seed(seed, &bench);
            count(result.map_err(|(case, what)| {
                format!("seed {seed}: {what}\n{}", serde_json::to_string(&case).unwrap())
            }));
        }
    }
    let Amount { done, refused, bursts, changed, with_gaps } = sum;
    println!(
        "differential {name}: {cases} cases, {} of {} operations possible, {changed} paths changed, \
         {with_gaps} of {bursts} bursts with gaps, unsupported here: {unsupported:?}, {failures} failed",
        done.values().sum::<usize>(),
        done.values().chain(refused.values()).sum::<usize>(),
    );
    failures
}

/// What the file system does not support; nothing else of [`EVERY_OPERATION`] may be refused.
fn refused(amount: &Amount) -> Result<BTreeSet<String>, String> {
    let is_unsupported = |error| [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOSYS].contains(&error);
    amount
        .refused
        .keys()
        .map(|(name, error)| match error {
            error if is_unsupported(*error) => Ok(name.clone()),
            error => Err(format!("{name} was not possible: {}", std::io::Error::from_raw_os_error(*error))),
        })
        .collect()
}

/// Tries one seed; of a failure gives the smallest case that fails too.
fn try_seed(seed: u64, bench: &RefCell<Bench>) -> Result<Amount, (Case, String)> {
    let patience = bench.borrow().patience;
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 300,
        max_shrink_time: SHRINKING_MAX_MS,
        ..Config::default()
    };
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
                bench.borrow_mut().patience = SHRINKING_PATIENCE;
                Err(TestCaseError::fail(what))
            }
        }
    });
    bench.borrow_mut().patience = patience;
    match result {
        Ok(()) => Ok(amount.into_inner()),
        Err(TestError::Fail(what, case)) => Err((case, what.to_string())),
        Err(TestError::Abort(what)) => panic!("{what}"),
    }
}

/// Leaves out each hook in turn; says how many were not missed by any case, and how many cases
/// fail with all hooks, which therefore show nothing.
#[cfg(feature = "mutation")]
fn mutate(arguments: &Arguments) -> usize {
    let (backend, name, sees_maps) = arguments.capture.backend();
    let mut cases: Vec<(&str, Case)> = regressions().collect();
    let try_all = |without: Option<&'static str>, cases: &[(&'static str, Case)]| {
        let (base, config) = place(arguments);
        let config = without.into_iter().fold(config, capture::Config::without);
        let mut bench = match Bench::new(base.path(), &config, sees_maps, None, SHRINKING_PATIENCE) {
            Ok(bench) => bench,
            Err(what) => return vec![("at the start", what)],
        };
        let failed = cases.iter().filter_map(|(title, case)| Some((*title, bench.run(case).err()?)));
        // One failure tells enough of a hook.
        failed.take(if without.is_some() { 1 } else { usize::MAX }).collect()
    };
    let useless = try_all(None, &cases);
    for (title, what) in &useless {
        println!("differential {name}, {title}: {what}");
        cases.retain(|(one, _)| one != title);
    }
    let mut unnoticed = 0;
    for hook in capture::hooks(backend) {
        if let Some((title, what)) = try_all(Some(hook), &cases).pop() {
            println!("differential {name} without {hook}, {title}: {what}");
        } else {
            unnoticed += 1;
            println!("differential {name} without {hook}: NOT NOTICED");
        }
    }
    unnoticed + useless.len()
}

#[cfg(not(feature = "mutation"))]
fn mutate(_arguments: &Arguments) -> usize {
    println!("hooks can be detached only in a build with the feature `mutation`");
    1
}
