//! Says which attributes are replicated besides kind, content, mode and modification time.

use serde::{Deserialize, Serialize};

/// What a replica keeps of the source. Mode and, but for directories, modification time are always
/// kept: by the time the two ends know each other's versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Preserve {
    pub owner: bool,
    pub group: bool,
    /// Extended attributes of users, of trusted programs, and the capabilities of programs.
    pub xattrs: bool,
    /// POSIX access control lists, which Linux keeps as extended attributes.
    pub acls: bool,
    /// Names of one inode become names of one inode.
    pub links: bool,
    /// Modification times of directories.
    pub directory_times: bool,
}

impl Preserve {
    pub const ALL: Self =
        Self { owner: true, group: true, xattrs: true, acls: true, links: true, directory_times: true };
    pub const NONE: Self =
        Self { owner: false, group: false, xattrs: false, acls: false, links: false, directory_times: false };

    /// Whether any extended attribute is kept.
    pub fn any_xattr(self) -> bool {
        self.xattrs || self.acls
    }
}
