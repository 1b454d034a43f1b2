//! Makes the fanotify group, and marks the file system.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use crate::capture::{Config, Error};

/// A group with one mark: on the file system of the root, through whatever mount it is changed.
#[derive(Debug)]
pub(super) struct Group(Fanotify);

/// What the kernel is asked to report, each of it needed.
const HOOKS: [(&str, MaskFlags); 6] = [
    ("create", MaskFlags::FAN_CREATE),
    ("delete", MaskFlags::FAN_DELETE),
    ("modify", MaskFlags::FAN_MODIFY),
    ("close", MaskFlags::FAN_CLOSE_WRITE),
    ("attributes", MaskFlags::FAN_ATTRIB),
    (RENAME, MaskFlags::FAN_RENAME),
];

/// Linux 5.17 tells renames whole; before, two halves come.
const RENAME: &str = "rename";

/// The names of what is asked for.
#[cfg(feature = "mutation")]
pub(super) fn hooks() -> Vec<&'static str> {
    HOOKS.iter().map(|(name, _)| *name).collect()
}

impl Group {
    /// Marks the file system that holds the root.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let root = config.root.as_path();
        let basic = InitFlags::FAN_CLASS_NOTIF
            | InitFlags::FAN_CLOEXEC
            | InitFlags::FAN_NONBLOCK
            | InitFlags::from_bits_retain(libc::FAN_REPORT_FID | libc::FAN_REPORT_DFID_NAME);
        let with_inode = basic | InitFlags::from_bits_retain(libc::FAN_REPORT_TARGET_FID);
        let flags = EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC | EventFFlags::O_LARGEFILE;
        // With Linux 5.17 came the inode that an event is about, and renames that are told whole.
        let (group, renames) = match Fanotify::init(with_inode, flags) {
            Ok(group) => (group, MaskFlags::FAN_RENAME),
            Err(Errno::EINVAL) => (
                Fanotify::init(basic, flags).map_err(explain_init)?,
                MaskFlags::FAN_MOVED_FROM | MaskFlags::FAN_MOVED_TO,
            ),
            Err(error) => return Err(explain_init(error)),
        };
        let how = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
        let mask = HOOKS.iter().filter(|(name, _)| config.has(name)).map(|(name, bits)| match *name {
            RENAME => renames,
            _ => *bits,
        });
        let mask = mask.fold(MaskFlags::FAN_ONDIR | ended(root), MaskFlags::union);
        group.mark(how, mask, AT_FDCWD, Some(root)).map_err(|error| explain_mark(error, root))?;
        Ok(Self(group))
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// That an inode is no more, which saves the search for it. After an unlink the kernel adds that
/// to an event that waits anyway.
///
/// On an overlay, Linux before 6.13 has no handle left by then, and complains.
fn ended(root: &Path) -> MaskFlags {
    let is_overlay = statfs(root).is_ok_and(|facts| facts.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    if is_overlay { MaskFlags::empty() } else { MaskFlags::FAN_DELETE_SELF }
}

fn explain_init(error: Errno) -> Error {
    let remedy = match error {
        Errno::EPERM => "run as root, or give ksyncd CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH",
        Errno::EINVAL | Errno::ENOSYS => "use Linux 5.9 or newer",
        Errno::EMFILE => "raise /proc/sys/fs/fanotify/max_user_groups, or end another watcher",
        _ => "see fanotify_init(2)",
    };
    Error::new("start fanotify", &error, remedy)
}

fn explain_mark(error: Errno, root: &Path) -> Error {
    let remedy = match error {
        Errno::EPERM => "run as root, or give ksyncd CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH",
        Errno::ENODEV => "its file system has no identity (FUSE, NFS): run ksyncd where the files are stored",
        Errno::EOPNOTSUPP => {
            "its file system cannot tell files by handle: mount an overlay with index=on,nfs_export=on, or replicate another directory"
        }
        Errno::EXDEV => "it is a btrfs subvolume: mount the top level, subvolid=5, and replicate from there",
        Errno::ENOSPC => "raise /proc/sys/fs/fanotify/max_user_marks",
        _ => "see fanotify_mark(2)",
    };
    Error::new(&format!("watch the file system of {} by fanotify", root.display()), &error, remedy)
}
