//! Runs the benchmarks of `perf` with an optimised daemon.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::process::{output, run};
use crate::{build, packages, vm, workspace};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    /// How long changes take to the target, against lsyncd and rsync
    Replication,
    /// What of it a long line changes: 1 Gbit/s with a round trip of 45 ms
    ReplicationFar,
    /// How long a page waits behind a large file on a line of 100 Mbit/s
    ReplicationSlow,
    /// The part of it that is about changes of one large file, against rsync
    LargeFiles,
    /// What being watched costs those who write and read, on this machine
    Capture,
    /// The same in a virtual machine that counts instructions, where eBPF can be measured whatever
    /// this machine allows
    CaptureCounted,
}

/// Measures `only`, or everything, and keeps the figures.
pub(crate) fn bench(only: &[Subject]) -> Result<()> {
    for needs in [packages::BUILD, packages::RUN, packages::BENCH] {
        packages::install(needs)?;
    }
    let daemon = build::build()?;
    run(build::cargo().args(["build", "--release", "--quiet", "--package", "perf"]))?;
    let perf = workspace().join("target/release/perf");
    let keep = workspace().join("perf/runs");
    let all = [Subject::Replication, Subject::ReplicationFar, Subject::Capture, Subject::CaptureCounted];
    let subjects = if only.is_empty() { &all } else { only };
    let replication = |name: &str, benches: &[&str], far: &[&str]| {
        let mut command = Command::new(&perf);
        command.arg("replication").arg("--ksyncd").arg(&daemon).arg("--keep").arg(&keep);
        command.args(benches.iter().flat_map(|bench| ["--only", bench]));
        run(command.args(["--name", name]).args(far))
    };
    for subject in subjects {
        match subject {
            Subject::Replication => replication("replication", &[], &[])?,
            Subject::ReplicationFar => {
                let benches = ["latency", "behind", "burst", "bulk", "rename", "whole", "restart"];
                replication("replication-far", &benches, &["--far"])?;
            }
            Subject::ReplicationSlow => {
                replication("replication-slow", &["latency", "behind", "whole"], &["--far", "100"])?;
            }
            Subject::LargeFiles => {
                replication("large-files", &["insert", "scatter", "append", "copy", "whole"], &[])?;
            }
            Subject::Capture => {
                let mut command = Command::new(&perf);
                command.arg("capture").arg("--ksyncd").arg(&daemon).arg("--keep").arg(&keep);
                let watchers = watchers(&daemon)?;
                run(command.args(watchers.iter().flat_map(|watcher| ["--watcher", watcher])))?;
            }
            Subject::CaptureCounted => counted(&perf, &keep)?,
        }
    }
    Ok(())
}

/// The watchers that this machine allows.
fn watchers(daemon: &Path) -> Result<Vec<&'static str>> {
    let told = output(Command::new("sh").arg("-c").arg("\"$1\" check / || true").arg("sh").arg(daemon))?;
    let has_ebpf = told.lines().any(|line| line.contains("eBPF") && line.contains("takes the programs"));
    let ebpf = has_ebpf.then_some("ebpf");
    Ok(ebpf.into_iter().chain(["fanotify", "inotify", "inotify-writes"]).collect())
}

/// One round is enough where every run is the same; a machine that counts is slow.
fn counted(perf: &Path, keep: &Path) -> Result<()> {
    let command = "perf capture --ksyncd /bin/ksyncd --rounds 1 --files 4000 --directories 50000 --directory /data --keep /tmp/kept && \
                   echo 'perf: kept' && cat /tmp/kept/*";
    let printed = vm::count("perf", perf.to_owned(), command)?;
    let (_, report) = printed.split_once("perf: kept\n").context("the machine has printed no figures")?;
    let name = printed.lines().find_map(|line| line.split_once("kept in /tmp/kept/")).map(|(_, name)| name);
    let name = name.unwrap_or("capture.md").replace("capture.md", "capture-counted.md");
    let lines: Vec<&str> = report.lines().take_while(|line| !line.starts_with('[')).collect();
    let note = "\nA virtual machine that takes a nanosecond for each instruction: times are instructions.\n";
    fs::write(keep.join(name), lines.join("\n") + note).context("keep the figures")
}
