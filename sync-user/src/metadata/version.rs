//! Makes what the kernel says of an inode into a [`Version`].

use rustix::fs::{FileType, Stat};

use crate::model::{FileKind, Mode, Owner, Preserve, Time, Version, XattrHash};

/// `None` for the kinds that are not replicated: fifos, sockets, devices.
pub fn version(stat: &Stat, xattrs: XattrHash, preserve: Preserve) -> Option<Version> {
    let (kind, size) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (FileKind::File, stat.st_size as u64),
        FileType::Directory => (FileKind::Directory, 0),
        FileType::Symlink => (FileKind::Symlink, stat.st_size as u64),
        _ => return None,
    };
    let mode = if kind == FileKind::Symlink { 0 } else { (stat.st_mode & 0o7777) as u16 };
    let is_timed = kind != FileKind::Directory || preserve.directory_times;
    let mtime = Time { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 };
    let mtime = if is_timed { mtime } else { Time::UNKNOWN };
    let owner = Owner {
        user: if preserve.owner { stat.st_uid } else { Owner::LEFT },
        group: if preserve.group { stat.st_gid } else { Owner::LEFT },
    };
    Some(Version { kind, size, mtime, mode: Mode(mode), owner, xattrs })
}
