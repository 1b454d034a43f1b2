//! Measures how long the kernel's events take to user space, idle and under load, and how many a
//! second are seen without a loss.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::load::Load;
use super::watcher::Watcher;

/// Changes one by one, with pauses.
const SAMPLES: usize = 200;

/// How long the last change may take to be told.
const PATIENCE: Duration = Duration::from_mins(2);

/// How fast one watcher sees.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) watcher: Watcher,
    /// Of single changes and under load, sorted, in microseconds; empty where the kernel does not
    /// stamp its events.
    pub(crate) idle: Vec<f64>,
    pub(crate) loaded: Vec<f64>,
    /// Changes a second under load.
    pub(crate) rate: f64,
    /// Events lost under load.
    pub(crate) lost: u64,
}

/// A line of `ksyncd tail --json`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    path: String,
    latency_us: Option<f64>,
    lost: Option<u64>,
}

/// Measures one of ksyncd's watchers; others do not stamp their events.
pub(crate) fn measure(watcher: Watcher, ksyncd: &Path, root: &Path, files: usize) -> Result<Option<Latency>> {
    if !matches!(watcher, Watcher::Ebpf | Watcher::Fanotify) {
        return Ok(None);
    }
    let mut running = watcher.start_telling(ksyncd, root)?;
    let lines = lines(running.0.stdout.take().context("read the changes")?);
    for number in 0..SAMPLES {
        fs::write(root.join("single"), format!("{number}")).context("write a file")?;
        thread::sleep(Duration::from_millis(10 + number as u64 % 7));
    }
    let (idle, _) = until(&lines, root, "end-of-idle")?;
    let began = Instant::now();
    Load::Churn.run(root, files)?;
    let (loaded, lost) = until(&lines, root, "end-of-load")?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = loaded.len() as f64 / seconds;
    Ok(Some(Latency { watcher, idle: stamped(&idle), loaded: stamped(&loaded), rate, lost }))
}

fn lines(out: ChildStdout) -> Receiver<Line> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str(&line) else { continue };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Makes a last file, and takes all lines up to it; gives the events that were lost, too.
fn until(lines: &Receiver<Line>, root: &Path, name: &str) -> Result<(Vec<Line>, u64)> {
    fs::write(root.join(name), "x").context("write a file")?;
    let (mut all, mut lost) = (Vec::new(), 0);
    loop {
        let Ok(line) = lines.recv_timeout(PATIENCE) else { bail!("{name} was never told") };
        if line.path == name {
            return Ok((all, lost));
        }
        lost += line.lost.unwrap_or(0);
        all.push(line);
    }
}

fn stamped(lines: &[Line]) -> Vec<f64> {
    let mut latencies: Vec<f64> = lines.iter().filter_map(|line| line.latency_us).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}
