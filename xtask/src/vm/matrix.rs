//! Tries every capture on every file system and kernel, and writes down what works.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;

use super::image;
use super::kernel::{self, Kernel, Series};
use super::machine;
use super::place::Place;
use super::{DAEMON, DIFFERENTIAL, IMAGE, SEEDS, differential, in_rows};
use crate::{build, packages, workspace};

const CAPTURES: [&str; 2] = ["ebpf", "fanotify"];

/// What a failure of the differential test is called.
const UNLIKE: &str = "the differential test found a difference";

/// What became of one attempt: the last words of the program, if it failed.
type Outcomes = BTreeMap<(String, String, String), Result<(), String>>;

/// Runs the demonstration, with colliding writers, and the differential test everywhere; writes
/// `docs/support.md`. An attempt in which trees differ is a failure; one that ksyncd itself
/// refuses is a fact.
pub(crate) fn matrix() -> Result<()> {
    super::install()?;
    packages::install(packages::MATRIX)?;
    let programs = [(build::build()?, DAEMON), (build::differential()?, DIFFERENTIAL)];
    let kernels: Vec<Kernel> =
        Series::value_variants().iter().map(|series| kernel::fetch(*series)).collect::<Result<_>>()?;
    let versions: Vec<String> = kernels.iter().map(|kernel| kernel.version.clone()).collect();
    let mut rows = [Vec::new(), Vec::new()];
    for (number, kernel) in kernels.into_iter().enumerate() {
        rows[number % 2].push(kernel);
    }
    let outcomes = Mutex::new(Outcomes::new());
    in_rows(&rows, |kernel| attempt(kernel, &programs, &outcomes))?;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let document = workspace().join("docs/support.md");
    fs::create_dir_all(workspace().join("docs")).context("make docs")?;
    fs::write(&document, render(&versions, &outcomes))
        .with_context(|| format!("write {}", document.display()))?;
    let expected = Series::value_variants().len() * Place::value_variants().len() * CAPTURES.len();
    if outcomes.len() != expected {
        bail!("{} of {expected} attempts were made", outcomes.len());
    }
    let wrong: Vec<&String> = outcomes
        .values()
        .filter_map(|outcome| outcome.as_ref().err())
        .filter(|words| words.contains("not equal") || words.contains(UNLIKE))
        .collect();
    if !wrong.is_empty() {
        bail!("trees differed in {} attempts", wrong.len());
    }
    Ok(())
}

/// Makes all attempts on one kernel.
fn attempt(kernel: &Kernel, programs: &[(PathBuf, &str)], outcomes: &Mutex<Outcomes>) -> Result<()> {
    let version = &kernel.version;
    eprintln!("xtask: Linux {version}");
    let folder = format!("{IMAGE}-{version}");
    let image = image::make(&folder, kernel, &script(), programs, Place::disks(true))?;
    let mut read = |line: &str| {
        if let Some((place, capture, words)) = outcome(line) {
            println!(
                "Linux {version:<5} {place:<8} {capture:<9} {}",
                words.as_ref().err().map_or("works", |words| words)
            );
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            outcomes.insert((version.clone(), place, capture), words);
        } else if !line.starts_with('[') {
            // What a failure has to say, and not the kernel's own messages.
            println!("Linux {version}: {line}");
        }
    };
    machine::run(kernel, &image, machine::USUAL, "", &mut read).with_context(|| format!("Linux {version}"))
}

/// What the machine runs: mounts each file system and tries each capture there.
fn script() -> String {
    let mut script = format!("cd / && {}\n", Place::load());
    for place in Place::value_variants() {
        let (mount, place) = (place.mount(), place.name());
        let _written = writeln!(script, "if {mount}; then");
        for capture in CAPTURES {
            let test = differential(capture, &format!("--directory /place --seeds {SEEDS}"));
            let _written = writeln!(
                script,
                "  if ! TMPDIR=/place ksyncd demo --capture {capture} --writers 3s >/tmp/log 2>&1; then cat /tmp/log\n    \
                 echo \"matrix: {place} {capture} failed: $(grep '^ksyncd: ' /tmp/log | head -n 1 | sed 's|/place[^ :,]*|the root|g')\"\n  \
                 elif ! {test} >/tmp/log 2>&1; then cat /tmp/log\n    \
                 echo \"matrix: {place} {capture} failed: {UNLIKE}\"\n  \
                 else echo 'matrix: {place} {capture} works'; fi"
            );
        }
        let _written = writeln!(script, "  umount /place\nelse");
        for capture in CAPTURES {
            let _written =
                writeln!(script, "  echo 'matrix: {place} {capture} failed: the kernel cannot mount it'");
        }
        script.push_str("fi\n");
    }
    script
}

/// A line that [`script`] has printed: the place, the capture, and what came of it.
fn outcome(line: &str) -> Option<(String, String, Result<(), String>)> {
    let rest = line.split_once("matrix: ")?.1;
    let (place, rest) = rest.split_once(' ')?;
    let (capture, rest) = rest.split_once(' ')?;
    let words = match rest.strip_prefix("failed: ") {
        Some(words) => Err(words.trim_start_matches("ksyncd: ").to_owned()),
        None => Ok(()),
    };
    Some((place.to_owned(), capture.to_owned(), words))
}

fn render(versions: &[String], outcomes: &Outcomes) -> String {
    let mut text = String::from(
        "# What works where\n\nWritten by `cargo xtask matrix`, which runs the demonstration with colliding writers, and the\n\
         differential test, in virtual machines on Debian's kernels, and compares both trees.\n\n| Linux | file system | ebpf | fanotify |\n|---|---|---|---|\n",
    );
    let mut notes: Vec<&String> = Vec::new();
    for version in versions {
        for place in Place::value_variants().iter().map(|place| place.name()) {
            let _written = write!(text, "| {version} | {place} ");
            for capture in CAPTURES {
                let cell = match outcomes.get(&(version.clone(), place.to_owned(), capture.to_owned())) {
                    Some(Ok(())) => "yes".to_owned(),
                    Some(Err(words)) => {
                        if !notes.contains(&words) {
                            notes.push(words);
                        }
                        let number = notes.iter().position(|note| *note == words).unwrap_or(0) + 1;
                        format!("no ({number})")
                    }
                    None => "not tried".to_owned(),
                };
                let _written = write!(text, "| {cell} ");
            }
            text.push_str("|\n");
        }
    }
    for (number, note) in (1..).zip(notes) {
        let _written = write!(text, "\n{number}. {note}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_reads_the_script() {
        let status = std::process::Command::new("sh").args(["-n", "-c", &script()]).status();
        assert!(status.unwrap().success());
    }

    #[test]
    fn the_console_is_read_whatever_stands_before() {
        assert_eq!(
            outcome("[ 1.2] matrix: xfs ebpf works"),
            Some(("xfs".to_owned(), "ebpf".to_owned(), Ok(())))
        );
        let failed = outcome("matrix: tmpfs fanotify failed: ksyncd: no identity").unwrap();
        assert_eq!(failed.2, Err("no identity".to_owned()));
        assert_eq!(outcome("anything else"), None);
    }
}
