//! Reads and sets what an entry is besides its content.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode as RawMode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::model::{FileKind, Mode, Time, Version};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    Nothing,
    /// A fifo, a socket or a device.
    Foreign,
    Version(Version),
}

/// What `name` in `directory` is now.
pub(super) fn there(directory: impl AsFd, name: &Path) -> Result<There, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(version(&stat).map_or(There::Foreign, There::Version)),
        Err(Errno::NOENT) => Ok(There::Nothing),
        Err(error) => Err(error),
    }
}

/// `None` for the kinds that are not replicated.
pub(super) fn version(stat: &Stat) -> Option<Version> {
    let (kind, size) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (FileKind::File, stat.st_size as u64),
        FileType::Directory => (FileKind::Directory, 0),
        FileType::Symlink => (FileKind::Symlink, stat.st_size as u64),
        _ => return None,
    };
    let mode = if kind == FileKind::Symlink { 0 } else { (stat.st_mode & 0o7777) as u16 };
    let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
    Some(Version { kind, size, mtime, mode: Mode(mode) })
}

/// A modification time to set; the access time stays.
pub(super) fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() },
    }
}

pub(super) fn raw_mode(mode: Mode) -> RawMode {
    RawMode::from_raw_mode(u32::from(mode.0 & 0o7777))
}

/// Opens whatever `name` is, without access to its content, and not through a link.
pub(super) fn open_path(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, RawMode::empty())
}

/// Changes the mode of what `descriptor` holds, which is no symbolic link. A descriptor from
/// [`open_path`] takes no `fchmod`, so it goes by the descriptor's name.
pub(super) fn set_mode(descriptor: &OwnedFd, mode: Mode) -> Result<(), Errno> {
    rustix::fs::chmod(format!("/proc/self/fd/{}", descriptor.as_raw_fd()), raw_mode(mode))
}
