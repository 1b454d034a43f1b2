//! Reads and sets the extended attributes of one entry.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::model::{Preserve, Xattr};

/// What all extended attributes of one entry may take, so that they fit into a frame with its
/// content. Most file systems take less: ext4 a block, XFS 64 KiB for each.
const ALL_BYTES_MAX: usize = 256 << 10;

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` (`limits.h`).
const ONE_BYTES_MAX: usize = 64 << 10;

/// The longest answer that is not worth asking for its length first.
const SHORT_BYTES: usize = 512;

/// Where the kernel finds the extended attributes of an entry: no call takes a directory and a
/// name, or a descriptor without access to content, but `/proc/self/fd` leads to both.
#[derive(Debug, Clone)]
pub struct XattrPlace {
    path: PathBuf,
    /// Whether the last component may be a symbolic link that is meant itself.
    is_name: bool,
}

/// Whether the attribute is one of those that [`Preserve`] asks for. Labels of security modules
/// belong to each machine's own policy, and those of overlayfs describe its layers.
pub fn is_replicated(name: &[u8], preserve: Preserve) -> bool {
    if is_acl(name) {
        return preserve.acls;
    }
    let others = name == b"security.capability"
        || name.starts_with(b"user.")
        || (name.starts_with(b"trusted.") && !name.starts_with(b"trusted.overlay."));
    preserve.xattrs && others
}

/// Whether the attribute is a POSIX access control list.
pub fn is_acl(name: &[u8]) -> bool {
    name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
}

impl XattrPlace {
    /// What is open, in whatever way.
    pub fn of(descriptor: impl AsFd) -> Self {
        let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
        Self { path: PathBuf::from(path), is_name: false }
    }

    /// What `name` is in the directory, and not what it leads to if it is a symbolic link.
    pub fn at(directory: impl AsFd, name: &Path) -> Self {
        let Self { path, .. } = Self::of(directory);
        Self { path: path.join(name), is_name: true }
    }

    /// What `name` is in the working directory of this thread.
    pub fn here(name: &Path) -> Self {
        Self { path: name.to_owned(), is_name: true }
    }

    /// The attributes that are replicated, in the order of their names. `E2BIG` says that they
    /// take more than 256 KiB.
    pub fn read(&self, preserve: Preserve) -> Result<Vec<Xattr>, Errno> {
        if !preserve.any_xattr() {
            return Ok(Vec::new());
        }
        let mut xattrs = Vec::new();
        let mut bytes = 0;
        for name in self.names(preserve)? {
            let value = match self.value(&name) {
                Ok(value) => value,
                // It was removed since it was listed.
                Err(Errno::NODATA) => continue,
                Err(error) => return Err(error),
            };
            bytes += name.len() + value.len();
            if bytes > ALL_BYTES_MAX {
                return Err(Errno::TOOBIG);
            }
            xattrs.push(Xattr { name, value });
        }
        Ok(xattrs)
    }

    /// The names of those that are replicated, in order.
    pub fn names(&self, preserve: Preserve) -> Result<Vec<Vec<u8>>, Errno> {
        let list = match answer(|buffer| {
            if self.is_name {
                rustix::fs::llistxattr(&self.path, buffer)
            } else {
                rustix::fs::listxattr(&self.path, buffer)
            }
        }) {
            Ok(list) => list,
            // This file system has none.
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = list.split(|byte| *byte == 0).filter(|name| is_replicated(name, preserve));
        let mut names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub fn value(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        answer(|buffer| {
            if self.is_name {
                rustix::fs::lgetxattr(&self.path, name, buffer)
            } else {
                rustix::fs::getxattr(&self.path, name, buffer)
            }
        })
    }

    pub fn set(&self, Xattr { name, value }: &Xattr) -> Result<(), Errno> {
        let name = name.as_slice();
        if self.is_name {
            rustix::fs::lsetxattr(&self.path, name, value, XattrFlags::empty())
        } else {
            rustix::fs::setxattr(&self.path, name, value, XattrFlags::empty())
        }
    }

    /// Removes one; that it is not there is fine.
    pub fn remove(&self, name: &[u8]) -> Result<(), Errno> {
        let removed = if self.is_name {
            rustix::fs::lremovexattr(&self.path, name)
        } else {
            rustix::fs::removexattr(&self.path, name)
        };
        match removed {
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
            removed => removed,
        }
    }
}

/// Asks with a short buffer, and once more with the longest when that was too short.
fn answer(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut short = [0; SHORT_BYTES];
    match ask(&mut short) {
        Ok(length) => Ok(short[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut long = vec![0; ONE_BYTES_MAX];
            let length = ask(&mut long)?;
            long.truncate(length);
            Ok(long)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_machine_stay_there() {
        for (name, expected) in [
            ("user.comment", true),
            ("trusted.note", true),
            ("trusted.overlay.opaque", false),
            ("security.capability", true),
            ("security.selinux", false),
            ("system.posix_acl_access", true),
            ("system.nfs4_acl", false),
            ("", false),
        ] {
            assert_eq!(is_replicated(name.as_bytes(), Preserve::ALL), expected, "{name}");
            assert!(!is_replicated(name.as_bytes(), Preserve::NONE), "{name}");
        }
    }

    #[test]
    fn reads_what_was_set_by_name_and_by_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        let by_name = XattrPlace::at(&opened, Path::new("file"));
        assert_eq!(by_name.read(Preserve::ALL), Ok(Vec::new()));
        let long = Xattr { name: b"user.long".into(), value: vec![b'l'; 3_000] };
        let short = Xattr { name: b"user.a".into(), value: b"1".into() };
        // Not every file system has them.
        if by_name.set(&long) == Err(Errno::NOTSUP) {
            return;
        }
        by_name.set(&short).unwrap();
        let file = std::fs::File::open(directory.path().join("file")).unwrap();
        let by_descriptor = XattrPlace::of(&file);
        assert_eq!(by_descriptor.read(Preserve::ALL), Ok(vec![short, long.clone()]));
        by_descriptor.remove(b"user.a").unwrap();
        by_descriptor.remove(b"user.a").unwrap();
        assert_eq!(by_name.read(Preserve::ALL), Ok(vec![long]));
        assert_eq!(by_name.read(Preserve::NONE), Ok(Vec::new()));
    }
}
