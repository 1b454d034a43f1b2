//! Asks the kernel to notify of changes on the root's file system, which is what makes it call
//! the functions that are hooked. The notifications themselves are not wanted.

use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::fanotify::{EventFFlags, Fanotify, InitFlags, MarkFlags, MaskFlags};
use nix::sys::inotify::{AddWatchFlags, InitFlags as InotifyFlags, Inotify};

use crate::capture::{Config, Error};

/// What is asked for, by name. Names that come and go are told whether or not anybody asks.
pub(super) const CONTENT: [(&str, MaskFlags); 3] = [
    ("modify", MaskFlags::FAN_MODIFY),
    ("close", MaskFlags::FAN_CLOSE_WRITE),
    ("attributes", MaskFlags::FAN_ATTRIB),
];

/// What keeps the kernel's notification layer at work for the file system.
#[derive(Debug)]
pub(super) enum Watch {
    /// Changes of content are asked for, and ignored: the kernel passes them to `fsnotify()`, and
    /// to nobody else. Reads are not asked for, so they cost nothing.
    Changes { _group: Fanotify },
    /// Where the file system cannot be marked: somebody watches one directory of it. The kernel
    /// then calls `__fsnotify_parent()` for everything, and goes no further.
    Root { _watch: Inotify },
}

impl Watch {
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let mask = CONTENT.iter().filter(|(name, _)| config.has(name)).map(|(_, bits)| *bits);
        match mark(&config.root, mask.collect()) {
            Ok(group) => Ok(Self::Changes { _group: group }),
            Err(_refused) => Ok(Self::Root { _watch: watch(&config.root)? }),
        }
    }
}

/// Marks the file system of `root` twice: to be told of `mask`, and to ignore it.
fn mark(root: &Path, mask: MaskFlags) -> nix::Result<Fanotify> {
    let flags = InitFlags::FAN_CLASS_NOTIF
        | InitFlags::FAN_CLOEXEC
        | InitFlags::FAN_NONBLOCK
        // Without it attributes cannot be asked for.
        | InitFlags::from_bits_retain(libc::FAN_REPORT_FID);
    let group = Fanotify::init(flags, EventFFlags::O_RDONLY | EventFFlags::O_CLOEXEC)?;
    let file_system = MarkFlags::FAN_MARK_ADD | MarkFlags::FAN_MARK_FILESYSTEM;
    let ignored = MarkFlags::FAN_MARK_IGNORED_MASK | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
    group.mark(file_system | ignored, mask, AT_FDCWD, Some(root))?;
    group.mark(file_system, mask, AT_FDCWD, Some(root))?;
    Ok(group)
}

fn watch(root: &Path) -> Result<Inotify, Error> {
    let remedy = "use --capture fanotify";
    let watch = Inotify::init(InotifyFlags::IN_CLOEXEC | InotifyFlags::IN_NONBLOCK)
        .map_err(|error| Error::new("start inotify", &error, remedy))?;
    let awake = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
    watch
        .add_watch(root, awake)
        .map_err(|error| Error::new(&format!("watch {}", root.display()), &error, remedy))?;
    Ok(watch)
}
