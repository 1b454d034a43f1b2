//! Notices when the source's root is not the directory that was opened.
//!
//! An unmounted disk leaves an empty directory under the same path, and a replaced one holds
//! other files. Neither may remove anything at a target (I3).

use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use crate::model::Inode;

/// Device and inode of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// How the path of the root went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the source {} cannot be examined any more: {cause}", root.display())]
    Lost { root: PathBuf, cause: String },
    #[error("the source {} is on another file system than at the start: something was mounted or unmounted", root.display())]
    OtherDevice { root: PathBuf },
    #[error("the source {} is another directory than at the start: restart ksyncd to replicate the new one", root.display())]
    OtherDirectory { root: PathBuf },
}

impl Identity {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }

    pub(super) fn inode(self) -> Inode {
        Inode { device: self.device, number: self.inode }
    }

    pub(super) fn same_device(self, stat: &Stat) -> bool {
        self.device == stat.st_dev
    }

    pub(super) fn check(self, root: &Path) -> Result<(), IdentityError> {
        let lost = |cause: rustix::io::Errno| IdentityError::Lost {
            root: root.to_owned(),
            cause: cause.to_string(),
        };
        let now = Self::of(&rustix::fs::lstat(root).map_err(lost)?);
        if now == self {
            Ok(())
        } else if now.device == self.device {
            Err(IdentityError::OtherDirectory { root: root.to_owned() })
        } else {
            Err(IdentityError::OtherDevice { root: root.to_owned() })
        }
    }
}
