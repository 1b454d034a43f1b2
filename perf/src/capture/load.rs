//! Does what programs on a busy web server do, and says what processor time it took.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

/// Work that is the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Each file is created, written (4 KiB), closed and removed.
    Churn,
    /// A tree is laid out as `tar` does: directories, files of 4 KiB, modes and times.
    Unpack,
    /// Lines are appended to one file that stays open.
    Append,
    /// Pages of 16 KiB are opened, examined, read and closed.
    Read,
}

/// Where the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Where {
    /// Below the root that is watched.
    Inside,
    /// On the same file system, in another tree.
    Beside,
}

/// Pages that are there to be read.
const PAGES: usize = 100;
const PAGE_BYTES: usize = 16 << 10;

/// Files of one directory.
const DIRECTORY_FILES: usize = 100;

const CONTENT: [u8; 4096] = [b'x'; 4096];

impl Load {
    pub(crate) const ALL: [Self; 4] = [Self::Churn, Self::Unpack, Self::Append, Self::Read];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Churn => "create, write, close, remove",
            Self::Unpack => "unpack a tree",
            Self::Append => "append to one open file",
            Self::Read => "open, examine, read, close",
        }
    }

    /// Does it `count` times in `directory`, which is then as before.
    pub(crate) fn run(self, directory: &Path, count: usize) -> Result<Duration> {
        match self {
            Self::Churn => timed(|| churn(&directory.join("churn"), count)),
            Self::Unpack => {
                let top = directory.join("unpacked");
                let time = timed(|| unpack(&top, count));
                fs::remove_dir_all(&top).context("remove the unpacked tree")?;
                time
            }
            Self::Append => {
                let log = directory.join("log");
                let time = timed(|| append(&log, count));
                fs::remove_file(&log).context("remove the log")?;
                time
            }
            Self::Read => timed(|| read(directory, count)),
        }
    }
}

/// Makes `directory` with what the loads need in it, and `files` more in directories, so that
/// whoever watches directories has some to watch.
pub(crate) fn prepare(directory: &Path, files: usize) -> Result<()> {
    fs::create_dir_all(directory.join("churn")).context("make a folder")?;
    for number in 0..PAGES {
        fs::write(page(directory, number), [b'p'; PAGE_BYTES]).context("write a page")?;
    }
    unpack(&directory.join("site"), files)
}

fn page(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("page-{number}.html"))
}

/// The processor time that this thread takes for `work`.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    work()?;
    let after = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    Ok(Duration::from(after).saturating_sub(Duration::from(before)))
}

fn churn(directory: &Path, count: usize) -> Result<()> {
    for number in 0..count {
        let path = directory.join(format!("session-{number}"));
        let mut file = File::create(&path)?;
        file.write_all(&CONTENT)?;
        drop(file);
        fs::remove_file(&path)?;
    }
    Ok(())
}

fn unpack(top: &Path, count: usize) -> Result<()> {
    for first in (0..count).step_by(DIRECTORY_FILES) {
        let directory = top.join(format!("{first}"));
        fs::create_dir_all(&directory)?;
        for number in first..count.min(first + DIRECTORY_FILES) {
            let mut file = File::create(directory.join(format!("{number}.html")))?;
            file.write_all(&CONTENT)?;
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000))?;
        }
    }
    Ok(())
}

fn append(log: &Path, count: usize) -> Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    for number in 0..count {
        let line = format!("192.0.2.1 - - \"GET /page-{number:08}.html HTTP/1.1\" 200 16384\n");
        // One system call for each, as servers do.
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

fn read(directory: &Path, count: usize) -> Result<()> {
    let mut content = vec![0; PAGE_BYTES];
    for number in 0..count {
        let mut file = File::open(page(directory, number % PAGES))?;
        let length = file.metadata()?.len().min(PAGE_BYTES as u64) as usize;
        file.read_exact(&mut content[..length])?;
    }
    Ok(())
}
