//! Turns what the kernel says of an inode into an [`Entry`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::model::{Entry, FileKind, Inode, Mode, Time, Version};

/// The version of an open file; anything that is not replicated is an error.
pub fn version_of(file: &File) -> io::Result<Version> {
    let stat = rustix::fs::fstat(file)?;
    version(&stat).ok_or_else(|| io::Error::other("it is not a file, directory or symbolic link"))
}

/// `None` for the kinds that are not replicated: fifos, sockets, devices.
pub(super) fn entry(stat: &Stat, destination: Option<Vec<u8>>) -> Option<Entry> {
    let inode = Inode { device: stat.st_dev, number: stat.st_ino };
    Some(Entry { version: version(stat)?, inode, links: stat.st_nlink, destination })
}

/// Where a symbolic link leads; `None` for everything else.
pub(super) fn destination(directory: impl AsFd, name: &Path, stat: &Stat) -> Result<Option<Vec<u8>>, Errno> {
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(None);
    }
    rustix::fs::readlinkat(directory, name, Vec::new()).map(|destination| Some(destination.into_bytes()))
}

fn version(stat: &Stat) -> Option<Version> {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let (kind, size) = match file_type {
        FileType::RegularFile => (FileKind::File, stat.st_size as u64),
        FileType::Directory => (FileKind::Directory, 0),
        FileType::Symlink => (FileKind::Symlink, stat.st_size as u64),
        _ => return None,
    };
    let mode = if kind == FileKind::Symlink { 0 } else { (stat.st_mode & 0o7777) as u16 };
    let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
    Some(Version { kind, size, mtime, mode: Mode(mode) })
}
