//! Overruns the smallest ring with more events than it ever holds: each is seen or counted as
//! lost, every gap is healed, and the trees are equal in the end (I1, I7).

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sync_user::demo::compare;
use sync_user::demo::sshd::Sshd;

/// Of the directories that are made, one in so many stays.
const STAYS: usize = 50;

/// Operations while the daemon stands still: fifty times what the ring holds.
const STOPPED: usize = 2_000;

/// How long replica and gaps may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// What the daemon says of the run, in the table that it prints.
#[derive(Debug)]
struct Told {
    captured: usize,
    lost: usize,
    gaps: usize,
    healed: usize,
}

/// Makes and removes directories, `operations` in all, each of which is one event of the kernel;
/// says what was wrong.
pub(crate) fn storm(ksyncd: &Path, base: &Path, operations: usize) -> Result<String, String> {
    let (source, target) = (base.join("source"), base.join("target"));
    let sshd = Sshd::start(base, "").unwrap();
    let mut run = sshd.run_through(ksyncd, &source, &target, &base.join("state"));
    run.args(["--capture", "ebpf", "--ring-size", "4KiB", "--log-level", "error"]);
    let daemon = run.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    // One event, which is counted too.
    fs::create_dir(source.join("first")).unwrap();
    let before = equal(&source, &target);
    let mut made = 0;
    if before.is_ok() {
        made += change(&source, "before", operations - STOPPED);
        // Even a reader that keeps up loses what happens while it stands still.
        let process = Pid::from_raw(daemon.id().cast_signed());
        kill(process, Signal::SIGSTOP).unwrap();
        made += change(&source, "stopped", STOPPED);
        kill(process, Signal::SIGCONT).unwrap();
    }
    let after = before.and_then(|()| equal(&source, &target));
    kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM).unwrap();
    let output = daemon.wait_with_output().unwrap();
    after?;
    let told = told(&String::from_utf8_lossy(&output.stdout))?;
    equal(&source, &target)?;
    let Told { captured, lost, gaps, healed } = told;
    let summary = format!("{made} events, {captured} captured, {lost} lost, {gaps} gaps, {healed} healed");
    // The first directory may have been made before capture began.
    let is_complete = (made..=made + 1).contains(&(captured + lost));
    if is_complete && lost > 0 && gaps > 0 && healed == gaps { Ok(summary) } else { Err(summary) }
}

/// Gives the number of changes.
fn change(source: &Path, prefix: &str, operations: usize) -> usize {
    let mut made = 0;
    for number in 0.. {
        let directory = source.join(format!("{prefix}-{number}"));
        fs::create_dir(&directory).unwrap();
        made += 1;
        if number % STAYS != 0 {
            fs::remove_dir(&directory).unwrap();
            made += 1;
        }
        if made >= operations {
            break;
        }
    }
    made
}

fn equal(source: &Path, target: &Path) -> Result<(), String> {
    let began = Instant::now();
    loop {
        let differences = compare::differences(source, target);
        match differences {
            Ok(differences) if differences.is_empty() => return Ok(()),
            _ if began.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            Ok(differences) => return Err(format!("{} differences are left", differences.len())),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads `N captured` and `lost N`.
fn told(table: &str) -> Result<Told, String> {
    let words: Vec<&str> = table.split_whitespace().collect();
    let number = |at: Option<usize>| at.and_then(|at| words.get(at)?.parse().ok());
    let at = |word: &str| words.iter().position(|one| *one == word);
    let before = |word| number(at(word).and_then(|at| at.checked_sub(1)));
    let behind = |word| number(at(word).map(|at| at + 1));
    let told = || {
        Some(Told {
            captured: before("captured")?,
            lost: behind("lost")?,
            gaps: behind("gaps")?,
            healed: behind("healed")?,
        })
    };
    told().ok_or_else(|| format!("no figures in\n{table}"))
}
