//! Makes a new file system for each measurement.
//!
//! What was removed lately makes ext4 slow: it gives no inode away again for minutes, and looks at each of them
//! whenever it needs one. The program that is measured second would pay for what is left of the first.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, umount2};

/// Room for the largest of what is measured; what is not written takes none.
const BYTES: u64 = 12 << 30;

/// An ext4 in a file, mounted as long as this is held.
#[derive(Debug)]
pub(super) struct Disk(PathBuf);

impl Disk {
    /// Makes it in the file `image`, and mounts it at `at`, a new directory.
    pub(super) fn mount(image: &Path, at: PathBuf) -> Result<Self> {
        File::create(image).and_then(|file| file.set_len(BYTES)).context("make a file for a disk")?;
        fs::create_dir(&at).context("make a folder to mount a disk at")?;
        // All of it now, and nothing in the background later.
        let options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-E", options]).arg(image))?;
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(&at))?;
        Ok(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Who still ends may hold on to it for a moment longer.
        let _mounted = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status} (this needs root, and loop devices)", command.get_program().display());
    }
    Ok(())
}
