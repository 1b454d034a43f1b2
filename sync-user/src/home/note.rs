//! Keeps what a root remembers between connections, in small files.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode as RawMode, OFlags};

/// Opens a file for reading, and whatever else is there without waiting for anybody.
pub(super) fn open(home: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(home, name, flags, RawMode::empty())?))
}

/// What is there, of which `limit` bytes are read at most.
pub fn read(home: &OwnedFd, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(home, name)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces it in one act, which is on the disk then.
pub fn write(home: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    let new = format!("{name}.{}", std::process::id());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(home, &new, flags, RawMode::RUSR | RawMode::WUSR)?);
    file.write_all(bytes)?;
    file.sync_data()?;
    rustix::fs::renameat(home, &new, home, name)?;
    Ok(rustix::fs::fsync(home)?)
}
