//! Makes the folder in which one contender is measured: a source, a target, an SSH server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::line::{self, Line};
use anyhow::{Context as _, Result, bail};
use sync_user::demo::{compare, sshd::Sshd};

/// How long a contender may take for anything.
const PATIENCE: Duration = Duration::from_mins(5);

/// Where in its folder a place has its file system.
const DISK: &str = "disk";

#[derive(Debug)]
pub(crate) struct Place {
    // In this order they end.
    pub(crate) sshd: Sshd,
    _disk: Disk,
    directory: tempfile::TempDir,
}

impl Place {
    /// With a server at the end of a line, if it is `far`.
    pub(crate) fn new(far: Option<Line>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("ksyncd-perf-").tempdir().context("make a folder")?;
        let path = directory.path().join(DISK);
        let disk = Disk::mount(&directory.path().join("image"), path.clone())?;
        for name in ["source", "target"] {
            fs::create_dir(path.join(name)).context("make a folder")?;
        }
        let mut sshd = Sshd::start(&path, "")?;
        if let Some(line) = far {
            sshd.reach_through(line::lay(line, sshd.port())?)?;
        }
        Ok(Self { sshd, _disk: disk, directory })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join(DISK)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path().join("source")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.path().join("target")
    }

    /// Waits until the trees are equal, but for times of directories, which rsync leaves wrong.
    ///
    /// Comparing costs what the contenders need as well, so names are counted first, which is
    /// cheap, and content is read only once all of them are there.
    pub(crate) fn wait_until_equal(&self) -> Result<()> {
        let (source, target) = (self.source(), self.target());
        let are_directories = |path: &Path| source.join(path).is_dir() && target.join(path).is_dir();
        wait("the trees are equal", Duration::from_millis(25), || {
            count(&source) == count(&target)
                && compare::differences(&source, &target).is_ok_and(|differences| {
                    differences.iter().all(|difference| are_directories(&difference.path))
                })
        })
    }
}

/// Names below a directory, but for the receiver's own.
fn count(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let each = entries.filter(|entry| entry.file_name() != ".ksyncd").map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        1 + if is_directory { count(&entry.path()) } else { 0 }
    });
    each.sum()
}

/// Waits until `condition` holds, asking every `pause`.
pub(crate) fn wait(what: &str, pause: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            bail!("waited in vain until {what}");
        }
        std::thread::sleep(pause);
    }
    Ok(())
}
