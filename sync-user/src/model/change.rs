//! Tells what happened to one path, once.

use super::{Gap, Stamp, TreePath};

/// One event below the root, as capture reports it.
///
/// It is a hint that says where to look: what the target shall hold is read from the file
/// system when the batch is closed. So changes may be merged, repeated or reordered freely, as
/// long as a path that changed is looked at after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub kind: Kind,
    /// The path that changed; for [`Kind::Moved`] the new name.
    pub path: TreePath,
    pub origin: Origin,
    /// When the kernel saw it; equal to `read` where the kernel does not tell (fanotify).
    pub seen: Stamp,
    /// When capture read it.
    pub read: Stamp,
}

/// What a [`Change`] says about its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file appeared that its creator may still be writing.
    Created,
    /// Content changed, and the file may still be open for writing.
    Writing,
    /// A file that was open for writing was closed: its content is complete.
    Written,
    /// A name appeared that is complete at once: a directory, a symbolic link, a hard link.
    /// A directory may already hold entries that had no event of their own.
    Named,
    /// Mode, owner, times or extended attributes changed.
    Attributes,
    /// The name is gone.
    Removed,
    /// `from` is now called `path`; what `path` named before is gone, or is now called `from`
    /// when a second move says so.
    Moved { from: TreePath, directory: bool },
    /// A name was moved in from outside of the root: everything below it is new.
    MovedIn,
}

/// Who made a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Process id (the kernel's tgid); 0 where it is not known.
    pub tgid: u32,
    /// The name of the thread, ending with NULs; empty where capture does not tell it.
    pub comm: [u8; 16],
    /// Whether it is one of the processes that capture was told to mark.
    pub ignored: bool,
}

impl Origin {
    /// The name of the thread, if it is known.
    pub fn command(&self) -> Option<std::borrow::Cow<'_, str>> {
        let name = self.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        (!name.is_empty()).then(|| String::from_utf8_lossy(name))
    }
}

/// What capture hands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Captured {
    Change(Change),
    Gap(Gap),
}
