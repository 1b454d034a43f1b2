//! Describes what a path holds, as far as replication compares it.

use serde::{Deserialize, Serialize};

use super::{Owner, TreePath, XattrHash};

/// The kinds of entry that are replicated. Fifos, sockets and devices are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
}

/// A point in time as file systems keep it: since 1970, in whole seconds and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Permission bits, with set-user-id, set-group-id and sticky: `st_mode & 0o7777`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mode(pub u16);

/// The blake3 hash of a file's content, or of a symbolic link's destination.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Content(pub [u8; 32]);

/// A modification time that is older by this much than the moment of reading proves that any
/// later write changes it: file systems stamp with the kernel's tick (10 ms at most), some
/// coarser (FAT: 2 s).
const SETTLED_AFTER_SECONDS: i64 = 3;

impl Time {
    /// Stands for a time that is not known: no file system has it.
    pub const UNKNOWN: Self = Self { seconds: i64::MIN, nanoseconds: 0 };

    /// Whether content that was read at `read_at`, with this modification time, is proven
    /// unchanged for as long as the time stays the same.
    pub fn settled(self, read_at: Self) -> bool {
        self.seconds.saturating_add(SETTLED_AFTER_SECONDS) <= read_at.seconds
    }
}

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}…", blake3::Hash::from(self.0).to_hex().get(..12).unwrap_or_default())
    }
}

/// What two ends compare to know whether they hold the same, without reading content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Version {
    pub kind: FileKind,
    /// Bytes of content; of a symbolic link, the length of its destination; 0 for a directory.
    pub size: u64,
    pub mtime: Time,
    /// 0 for a symbolic link, whose mode Linux does not use.
    pub mode: Mode,
    /// [`Owner::LEFT`] where it is not replicated.
    pub owner: Owner,
    /// [`XattrHash::NONE`] where they are not replicated.
    pub xattrs: XattrHash,
}

/// A file that a target is believed to have, and that another can be built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldFile {
    pub path: TreePath,
    pub version: Version,
    pub content: Content,
}

impl OldFile {
    /// What is smaller costs less to send than to look for: it fits into one frame.
    pub const SIZE_MIN: u64 = 256 << 10;
}

/// An inode, to recognise a file under another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Inode {
    pub device: u64,
    pub number: u64,
}

/// What one path of the source holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub version: Version,
    pub inode: Inode,
    /// Names that the inode has (`st_nlink`).
    pub links: u64,
    /// Where a symbolic link leads; `None` for the other kinds.
    pub destination: Option<Vec<u8>>,
}
