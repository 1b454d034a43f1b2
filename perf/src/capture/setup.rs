//! Measures what it takes to begin watching a tree of many directories.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::watcher::{Running, Watcher};

/// How one watcher has begun.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) watcher: Watcher,
    pub(crate) directories: usize,
    /// From starting the program until it watches.
    pub(crate) time: Duration,
    /// Marks and watches that it holds in the kernel.
    pub(crate) marks: usize,
    /// Its memory, in KiB.
    pub(crate) resident: u64,
}

/// Directories of one directory.
const WIDTH: usize = 1000;

/// Makes a tree of `directories` below `top`, and begins to watch it with each of `watchers`.
pub(crate) fn measure(
    watchers: &[Watcher],
    ksyncd: &Path,
    top: &Path,
    directories: usize,
) -> Result<Vec<Setup>> {
    for number in 0..directories {
        let parent = top.join(format!("{}", number / WIDTH));
        if number % WIDTH == 0 {
            fs::create_dir_all(&parent).context("make a directory")?;
        }
        fs::create_dir(parent.join(format!("{number}"))).context("make a directory")?;
    }
    let mut setups = Vec::new();
    for watcher in watchers {
        let began = Instant::now();
        let Running(child) = &watcher.start(ksyncd, top)?;
        let time = began.elapsed();
        let process = Path::new("/proc").join(child.id().to_string());
        let (marks, resident) = (marks(&process)?, resident(&process)?);
        setups.push(Setup { watcher: *watcher, directories, time, marks, resident });
    }
    Ok(setups)
}

/// The kernel lists each in the descriptor that holds it.
fn marks(process: &Path) -> Result<usize> {
    let mut marks = 0;
    for entry in fs::read_dir(process.join("fdinfo")).context("list the descriptors")?.flatten() {
        let facts = fs::read_to_string(entry.path()).unwrap_or_default();
        let is_mark = |line: &&str| {
            line.starts_with("inotify wd:")
                || ["ino:", "mnt_id:", "sdev:"]
                    .iter()
                    .any(|kind| line.starts_with(&format!("fanotify {kind}")))
        };
        marks += facts.lines().filter(is_mark).count();
    }
    Ok(marks)
}

fn resident(process: &Path) -> Result<u64> {
    let status = fs::read_to_string(process.join("status")).context("read its memory")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.trim().trim_end_matches(" kB").parse().unwrap_or(0))
}
