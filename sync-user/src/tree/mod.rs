//! Reads the source's tree, and never says "gone" of what it could not read.
//!
//! Every path is opened from the root's descriptor, beneath it and through no symbolic link, so
//! that a link which appears anywhere in the tree leads nowhere.

mod entry;
mod exclude;
mod identity;
mod pattern;
mod rules;
mod scan;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use exclude::{Excludes, PatternError, Reason};
pub use identity::IdentityError;
pub use rules::{Rule, Rules, Verdict};
pub use scan::{Scan, Unreadable};

use crate::aliases::Aliases;
use crate::metadata::{self, XattrPlace};
use crate::model::{Content, Entry, FileKind, Inode, Preserve, TreePath, Version, Xattr, XattrHash};

/// Read ahead while hashing.
const HASH_BUFFER_BYTES: usize = 256 << 10;

/// A directory of the source, held open. Threads share it.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    descriptor: OwnedFd,
    identity: identity::Identity,
    excludes: Excludes,
    preserve: Preserve,
    aliases: Aliases,
}

/// Why a root cannot be replicated.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct OpenError {
    pub what: String,
    pub remedy: String,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Present(Entry),
    Absent,
    /// A fifo, socket or device: for a replica there is nothing.
    Special,
    /// Something that is not replicated: excluded, or on another file system.
    Ignored,
    Unreadable(String),
}

/// The root itself.
impl AsFd for Tree {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Tree {
    /// Opens the directory `root`. What `preserve` leaves out is neither read nor told.
    pub fn open(root: &Path, excludes: Excludes, preserve: Preserve) -> Result<Self, OpenError> {
        let failed = |what: &str, cause: &dyn std::fmt::Display, remedy: &str| OpenError {
            what: format!("{what} the source {}: {cause}", root.display()),
            remedy: remedy.to_owned(),
        };
        let absolute = root.canonicalize().map_err(|error| {
            failed(
                "find",
                &error,
                "check --source: it must be a directory that exists and that this user may enter",
            )
        })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(&absolute, flags, Mode::empty()).map_err(|error| {
            let remedy = match error {
                Errno::NOTDIR => "give the directory that holds the files, not a file",
                _ => "run ksyncd as a user that may read it",
            };
            failed("open", &error, remedy)
        })?;
        let stat =
            rustix::fs::fstat(&descriptor).map_err(|error| failed("examine", &error, "check the disk"))?;
        let identity = identity::Identity::of(&stat);
        let aliases = Aliases::default();
        Ok(Self { root: absolute, descriptor, identity, excludes, preserve, aliases })
    }

    /// The root, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of its files that have several, as far as whoever looked at them has noted.
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// What is read of an entry.
    pub fn preserve(&self) -> Preserve {
        self.preserve
    }

    /// Whether `path` is left out whatever it is: a directory or none.
    pub fn excludes(&self, path: &TreePath) -> bool {
        [false, true].into_iter().all(|directory| self.excludes_as(path, directory))
    }

    /// Whether `path`, which is a directory or not, is left out.
    pub fn excludes_as(&self, path: &TreePath, directory: bool) -> bool {
        self.excludes.excluded(path, directory)
    }

    /// The directory that was opened.
    pub fn inode(&self) -> Inode {
        self.identity.inode()
    }

    /// Whether there is nothing at all in the root, as in the place of a disk that is not mounted.
    pub fn is_empty(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let entries =
            self.open_beneath(&TreePath::root(), flags).and_then(|root| rustix::fs::Dir::read_from(&root));
        // "." and ".." are in any directory.
        entries.is_ok_and(|entries| entries.take(3).count() < 3)
    }

    /// Whether the path of the root still leads to the directory that was opened.
    pub fn identity_holds(&self) -> Result<(), IdentityError> {
        self.identity.check(&self.root)
    }

    /// What is at `path` now.
    pub fn look(&self, path: &TreePath) -> Seen {
        let found = self.parent(path).and_then(|(parent, name)| {
            let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !self.identity.same_device(&stat) {
                return Err(Errno::XDEV);
            }
            let xattrs = XattrPlace::at(&parent, name);
            entry::entry(&parent, name, &stat, &xattrs, self.preserve)
        });
        match found {
            Ok(Some(entry)) => {
                let directory = entry.version.kind == FileKind::Directory;
                if self.excludes.excluded(path, directory) { Seen::Ignored } else { Seen::Present(entry) }
            }
            Err(Errno::AGAIN) => self.look(path),
            Ok(None) if self.excludes_as(path, false) => Seen::Ignored,
            Ok(None) => Seen::Special,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Seen::Absent,
            Err(Errno::XDEV) => Seen::Ignored,
            Err(error) => Seen::Unreadable(error.to_string()),
        }
    }

    /// Everything at and below `place`, but for what is excluded and what could not be read.
    pub fn scan(&self, place: &TreePath) -> Scan {
        scan::scan(self, place)
    }

    /// The names in a directory, in order; none if there is no directory. Whether they are left out
    /// is not looked at.
    pub fn names(&self, directory: &TreePath) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = match self.open_beneath(directory, flags) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Opens the regular file at `path` for reading; anything else there is `ENOENT`.
    pub fn open_file(&self, path: &TreePath) -> io::Result<File> {
        // A fifo would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = self.open_beneath(path, flags)?;
        let stat = rustix::fs::fstat(&file)?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Errno::NOENT.into());
        }
        Ok(File::from(file))
    }

    /// The version of an open file, with its extended attributes; anything that is not replicated
    /// is an error.
    pub fn version_of(&self, file: &File) -> io::Result<(Version, Vec<Xattr>)> {
        let stat = rustix::fs::fstat(file)?;
        let xattrs = XattrPlace::of(file).read(self.preserve)?;
        let version = metadata::version(&stat, XattrHash::of(&xattrs), self.preserve);
        let version =
            version.ok_or_else(|| io::Error::other("it is not a file, directory or symbolic link"))?;
        Ok((version, xattrs))
    }

    /// The extended attributes of whatever is at `path`.
    pub fn xattrs(&self, path: &TreePath) -> io::Result<Vec<Xattr>> {
        let (parent, name) = self.parent(path)?;
        Ok(XattrPlace::at(&parent, name).read(self.preserve)?)
    }

    /// Hashes the content of a file; the version is from before the first byte was read.
    pub fn hash(&self, path: &TreePath) -> io::Result<(Version, Content)> {
        let file = self.open_file(path)?;
        let (version, _) = self.version_of(&file)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer =
            vec![0; HASH_BUFFER_BYTES.min(usize::try_from(version.size).unwrap_or(usize::MAX).max(1))];
        loop {
            match io::Read::read(&mut &file, &mut buffer)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            };
        }
        Ok((version, Content(hasher.finalize().into())))
    }

    fn open_beneath(&self, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
        // Capture does not see into what is mounted below the root, so nobody else looks there.
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(&self.descriptor, path.as_path(), flags, Mode::empty(), resolve) {
            // A rename somewhere in the tree made the kernel's walk give up: again.
            Err(Errno::AGAIN | Errno::INTR) => self.open_beneath(path, flags),
            result => result,
        }
    }

    /// The directory that holds `path`, and the path's name in it.
    fn parent<'a>(&self, path: &'a TreePath) -> Result<(OwnedFd, &'a Path), Errno> {
        use std::os::unix::ffi::OsStrExt;
        let parent = path.parent().unwrap_or_else(TreePath::root);
        let descriptor = self.open_beneath(&parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        let name =
            if path.is_root() { Path::new(".") } else { Path::new(std::ffi::OsStr::from_bytes(path.name())) };
        Ok((descriptor, name))
    }
}
