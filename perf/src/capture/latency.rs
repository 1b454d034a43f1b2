//! Measures how long changes take from the kernel to user space, idle and under load, and how many a
//! second are seen without a loss.
//!
//! Where the kernel does not stamp its events, the time counts from before the call that makes a
//! file, which is named after it.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::load::Load;
use super::watcher::Watcher;

/// Changes one by one, with pauses.
const SAMPLES: usize = 200;

/// How often there is one more under load.
const EVERY: Duration = Duration::from_millis(5);

/// What the names of files begin with that are named after the moment.
const STAMPED: &str = "at-";

/// How long the last change may take to be told.
const PATIENCE: Duration = Duration::from_mins(2);

/// How fast one watcher sees.
#[derive(Debug)]
pub(crate) struct Latency {
    pub(crate) watcher: Watcher,
    /// Of single changes and under load, sorted, in microseconds.
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
    time: String,
    path: String,
    latency_us: Option<f64>,
    lost: Option<u64>,
}

/// Measures one of ksyncd's watchers; others do not say when they saw something.
pub(crate) fn measure(watcher: Watcher, ksyncd: &Path, root: &Path, files: usize) -> Result<Option<Latency>> {
    if !matches!(watcher, Watcher::Ebpf | Watcher::Fanotify) {
        return Ok(None);
    }
    let mut running = watcher.start_telling(ksyncd, root)?;
    let lines = lines(running.0.stdout.take().context("read the changes")?);
    for number in 0..SAMPLES {
        make_stamped(root)?;
        thread::sleep(Duration::from_millis(10 + number as u64 % 7));
    }
    let (idle, _) = until(&lines, root, "end-of-idle")?;
    let began = Instant::now();
    work_beside_samples(root, files)?;
    let (loaded, lost) = until(&lines, root, "end-of-load")?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = loaded.len() as f64 / seconds;
    remove_stamped(root)?;
    Ok(Some(Latency { watcher, idle: latencies(&idle), loaded: latencies(&loaded), rate, lost }))
}

/// Runs the load, and makes files that tell the moment meanwhile.
fn work_beside_samples(root: &Path, files: usize) -> Result<()> {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let beside = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                make_stamped(root)?;
                thread::sleep(EVERY);
            }
            Ok(())
        });
        let worked = Load::Churn.run(root, files);
        is_done.store(true, Ordering::Relaxed);
        let sampled = beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        worked.and(sampled)
    })
}

/// Makes a file that is named after the moment before.
fn make_stamped(root: &Path) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    fs::write(root.join(format!("{STAMPED}{}", now.as_micros())), "x").context("write a file")
}

fn remove_stamped(root: &Path) -> Result<()> {
    for entry in fs::read_dir(root).context("list the files")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(STAMPED) {
            fs::remove_file(entry.path()).context("remove a file")?;
        }
    }
    Ok(())
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

/// From the kernel's stamps, else from the first line of each file that is named after the moment.
fn latencies(lines: &[Line]) -> Vec<f64> {
    let mut told = HashSet::new();
    let mut since_call = |line: &Line| line.since_call().filter(|_| told.insert(line.path.clone()));
    let latency = |line: &Line| line.latency_us.or_else(|| since_call(line));
    let mut latencies: Vec<f64> = lines.iter().filter_map(latency).collect();
    latencies.sort_by(f64::total_cmp);
    latencies
}

impl Line {
    /// From the moment after which the file is named to when it was seen, in microseconds.
    fn since_call(&self) -> Option<f64> {
        let micros = self.path.strip_prefix(STAMPED)?.parse().ok()?;
        let seen = humantime::parse_rfc3339(&self.time).ok()?;
        let passed = seen.duration_since(UNIX_EPOCH + Duration::from_micros(micros)).ok()?;
        Some(passed.as_secs_f64() * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, micros: u64, latency_us: Option<f64>) -> Line {
        let time = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(micros));
        Line { time: time.to_string(), path: path.to_owned(), latency_us, lost: None }
    }

    #[test]
    fn without_stamps_of_the_kernel_the_first_line_of_a_file_counts() {
        let unstamped =
            [line("at-1000", 1040, None), line("at-1000", 9000, None), line("at-2000", 2030, None)];
        assert_eq!(latencies(&unstamped), [30.0, 40.0]);
        let stamped = [line("at-1000", 1040, Some(7.5)), line("other", 2000, Some(6.5))];
        assert_eq!(latencies(&stamped), [6.5, 7.5]);
    }
}
