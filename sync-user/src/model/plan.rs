//! Lists what the target shall do.

use super::{Entry, Expected, Time, TreePath, Version};

/// One thing that the target shall do. Steps name content, they do not carry it: it is read
/// when the step is shipped.
///
/// Each says what it expects the target to hold. A put, a link and a rename replace what is there
/// instead, and the receipt says so; every other step is refused then. That a directory is there,
/// whatever its version, is expected by the steps that are about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the directory, or take the one that is there, and give it this mode.
    MakeDirectory { path: TreePath, entry: Entry, expects: Expected },
    /// Replace whatever the path names, unless it is a directory, by this file, atomically.
    PutFile { path: TreePath, entry: Entry, expects: Expected },
    /// Replace whatever the path names, unless it is a directory, by this symbolic link.
    PutSymlink { path: TreePath, entry: Entry, expects: Expected },
    /// Make the path another name of the inode that `to` names, replacing whatever it names now
    /// unless that is a directory, if `to` still is what the source believes.
    Link { path: TreePath, to: TreePath, expects: Version, replaces: Expected },
    /// Give the path this mode and modification time.
    SetAttributes { path: TreePath, version: Version, expects: Expected },
    /// Give the directory this modification time, which the steps before have disturbed.
    SetDirectoryTime { path: TreePath, mtime: Time },
    /// Remove the file or symbolic link.
    RemoveFile { path: TreePath, expects: Expected },
    /// Remove the directory if it is empty: what others have put there keeps it.
    RemoveDirectory { path: TreePath },
    /// Rename, if the target's `from` still is what the source believes.
    Rename { from: TreePath, to: TreePath, expects: Version, replaces: Expected },
    /// Swap two names in one atomic act, if both still are what the source believes.
    Exchange { one: TreePath, other: TreePath, expects_one: Version, expects_other: Version },
}

impl Step {
    /// The path that the step is about; of a rename the new name.
    pub fn path(&self) -> &TreePath {
        match self {
            Self::MakeDirectory { path, .. }
            | Self::PutFile { path, .. }
            | Self::PutSymlink { path, .. }
            | Self::Link { path, .. }
            | Self::SetAttributes { path, .. }
            | Self::SetDirectoryTime { path, .. }
            | Self::RemoveFile { path, .. }
            | Self::RemoveDirectory { path } => path,
            Self::Rename { to, .. } => to,
            Self::Exchange { one, .. } => one,
        }
    }

    /// The other path that the step names, if it names two.
    pub fn other_path(&self) -> Option<&TreePath> {
        match self {
            Self::Rename { from: other, .. }
            | Self::Exchange { other, .. }
            | Self::Link { to: other, .. } => Some(other),
            Self::MakeDirectory { .. }
            | Self::PutFile { .. }
            | Self::PutSymlink { .. }
            | Self::SetAttributes { .. }
            | Self::SetDirectoryTime { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. } => None,
        }
    }

    /// All paths that the step names.
    pub fn paths(&self) -> impl Iterator<Item = &TreePath> {
        std::iter::once(self.path()).chain(self.other_path())
    }

    /// Expects `sent` at the path `at` where it expects what was `planned` there.
    pub fn expect_instead(&mut self, at: &TreePath, planned: Version, sent: Version) {
        let at_one = |path: &TreePath, expects: &mut Version| {
            if path == at && *expects == planned {
                *expects = sent;
            }
        };
        let at_any = |path: &TreePath, expects: &mut Expected| {
            if path == at && *expects == Expected::This(planned) {
                *expects = Expected::This(sent);
            }
        };
        match self {
            Self::MakeDirectory { path, expects, .. }
            | Self::PutFile { path, expects, .. }
            | Self::PutSymlink { path, expects, .. }
            | Self::SetAttributes { path, expects, .. }
            | Self::RemoveFile { path, expects } => at_any(path, expects),
            Self::Link { path, to, expects, replaces } => {
                at_one(to, expects);
                at_any(path, replaces);
            }
            Self::Rename { from, to, expects, replaces } => {
                at_one(from, expects);
                at_any(to, replaces);
            }
            Self::Exchange { one, other, expects_one, expects_other } => {
                at_one(one, expects_one);
                at_one(other, expects_other);
            }
            Self::SetDirectoryTime { .. } | Self::RemoveDirectory { .. } => {}
        }
    }
}
