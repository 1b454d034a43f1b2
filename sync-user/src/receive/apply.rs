//! Applies one step: each a function, each all or nothing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode as RawMode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::{There, open_path, there, version};
use super::confine::{Leaf, checked, checked_or_root, leaf};
use super::disk::Disk;
use super::dress::{Dress, set_times};
use super::failure::{Failure, OpenError};
use super::marker;
use super::old::OldFile;
use super::stage::{Stage, StagedFile};
use crate::model::{Content, Durability, FileKind, Lack, Named, Preserve, Refusal, Time, Version};
use crate::wire::{Attributes, Body, Claimed, Step};

/// The tree of a target.
#[derive(Debug)]
pub struct Root {
    descriptor: OwnedFd,
    stage: Stage,
    pub(super) dress: Dress,
    durability: Durability,
}

/// A file whose content is still coming; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    file: StagedFile,
    /// What it is built from, if it is.
    old: Option<OldFile>,
    path: Vec<u8>,
    size: u64,
    /// What has not come yet.
    left: u64,
    attributes: Attributes,
}

/// How far a step got.
pub enum Progress {
    /// All is done but what the target cannot set.
    Done(Vec<Lack>),
    /// Content follows.
    Wants(Incoming),
}

impl Root {
    /// Opens the directory `root`, and makes it if only its last component is missing.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let failed = |error: Errno, remedy: &str| OpenError {
            what: format!("the target {} cannot be opened: {error}", root.display()),
            remedy: remedy.to_owned(),
        };
        match rustix::fs::mkdir(root, RawMode::from_raw_mode(0o755)) {
            // On a read-only file system it may be there all the same.
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(error @ Errno::NOENT) => {
                return Err(failed(error, "make the directory that it is to be in, on the target"));
            }
            Err(error) => {
                return Err(failed(error, "make it on the target, and let the receiving user write there"));
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(root, flags, RawMode::empty())
            .map_err(|error| failed(error, "give a directory that the receiving user may read and write"))?;
        let stage = Stage::open(&descriptor, root)?;
        let dress = Dress::new(Preserve::NONE);
        Ok(Self { descriptor, stage, dress, durability: Durability::None })
    }

    /// Says who sends and what is to be preserved, before anything else is done for it: what an
    /// earlier connection of the same source has left running ends here. Says which root this is.
    pub fn claim(
        &mut self,
        source: &[u8; 16],
        preserve: Preserve,
        durability: Durability,
    ) -> Result<Claimed, OpenError> {
        self.durability = durability;
        self.dress = Dress::new(preserve);
        self.stage.claim(source)?;
        marker::mark(&self.descriptor, self.stage.home()).map_err(|error| OpenError {
            what: format!("the target cannot be examined: {error}"),
            remedy: "check the target's disk".to_owned(),
        })
    }

    /// The disk that this root is on.
    pub fn disk(&self) -> std::io::Result<Disk> {
        Ok(Disk::new(self.descriptor.try_clone()?, self.durability))
    }

    /// Learns the names of users and groups of the source.
    pub fn learn(&mut self, users: &[Named], groups: &[Named]) {
        self.dress.owners.learn(users, groups);
    }

    /// Applies `step`, or refuses it and leaves everything as it was.
    pub fn apply(&mut self, step: Step) -> Result<Progress, Failure> {
        let mut lacks = Vec::new();
        match step {
            Step::MakeDirectory { path, attributes } => lacks = self.make_directory(&path, &attributes)?,
            Step::PutFile { path, size, attributes, body } => {
                self.dress.check(&attributes)?;
                let leaf = self.leaf(&path)?;
                let old = match &body {
                    Body::Built { old, expects } => Some(self.old_file(old, *expects)?),
                    Body::Inline { .. } | Body::Streamed => None,
                };
                let file = self.stage.file(&leaf)?;
                let mut incoming = Incoming { file, old, path, size, left: size, attributes };
                match body {
                    Body::Streamed | Body::Built { .. } => return Ok(Progress::Wants(incoming)),
                    Body::Inline { bytes, content } => {
                        incoming.write(&bytes)?;
                        lacks = self.finish(incoming, content)?;
                    }
                }
            }
            Step::PutSymlink { path, destination, attributes } => {
                self.dress.check(&attributes)?;
                let leaf = self.leaf(&path)?;
                let destination = Path::new(OsStr::from_bytes(&destination));
                let (staged, lacking) = self.stage.symlink(&leaf, destination, &attributes, &self.dress)?;
                staged.replace(&leaf).map_err(in_the_way)?;
                lacks = lacking;
            }
            Step::Link { path, to, expects } => self.link(&path, &to, expects)?,
            Step::SetAttributes { path, kind, size, attributes } => {
                lacks = self.set_attributes(&path, (kind, size), &attributes)?;
            }
            Step::SetDirectoryTime { path, mtime } => self.set_directory_time(&path, mtime)?,
            Step::RemoveFile { path } => self.remove_file(&path)?,
            Step::RemoveDirectory { path } => self.remove_directory(&path)?,
            Step::Rename { from, to, expects } => self.rename(&from, &to, expects)?,
            Step::Exchange { one, other, expects_one, expects_other } => {
                self.exchange((&one, expects_one), (&other, expects_other))?;
            }
        }
        Ok(Progress::Done(lacks))
    }

    fn old_file(&self, path: &[u8], expects: Version) -> Result<OldFile, Failure> {
        let leaf = self.leaf(path).map_err(|failure| match failure.refusal {
            Refusal::NoParent => Failure::old_file(failure.detail),
            _ => failure,
        })?;
        OldFile::open(&leaf, expects)
    }

    /// Puts a file into place whose content has all come.
    pub fn finish(&mut self, incoming: Incoming, content: Content) -> Result<Vec<Lack>, Failure> {
        let Incoming { file, old, path, size, left: _, attributes } = incoming;
        let is_durable = self.durability == Durability::File;
        let finished = file.finish((size, content), is_durable, &attributes, &self.dress);
        let (staged, lacks) = finished.map_err(|failure| match (failure.refusal, &old) {
            (Refusal::Damaged, Some(_)) => Failure::old_file(failure.detail),
            _ => failure,
        })?;
        // Opened again, since much may have happened while the content came.
        staged.replace(&self.leaf(&path)?).map_err(in_the_way)?;
        Ok(lacks)
    }

    fn leaf(&self, path: &[u8]) -> Result<Leaf, Failure> {
        leaf(&self.descriptor, checked(path)?)
    }

    /// Of steps that only change what is there, and may do so to the root.
    fn leaf_or_root(&self, path: &[u8]) -> Result<Leaf, Failure> {
        leaf(&self.descriptor, checked_or_root(path)?)
    }

    fn make_directory(&mut self, path: &[u8], attributes: &Attributes) -> Result<Vec<Lack>, Failure> {
        self.dress.check(attributes)?;
        let leaf = self.leaf_or_root(path)?;
        match there(&leaf.directory, leaf.name()).map_err(|error| Failure::of("examine it", error))? {
            There::Version(Version { kind: FileKind::Directory, .. }) => {
                let directory =
                    open_path(&leaf.directory, leaf.name()).map_err(|error| Failure::of("open it", error))?;
                require_directory(&directory)?;
                self.dress.put_on(directory.as_fd(), false, attributes)
            }
            before => {
                let (staged, lacks) = self.stage.directory(&leaf, attributes, &self.dress)?;
                let placed =
                    if before == There::Nothing { staged.replace(&leaf) } else { staged.exchange(&leaf) };
                placed.map_err(|error| Failure::of("put the directory into place", error))?;
                Ok(lacks)
            }
        }
    }

    fn link(&mut self, path: &[u8], to: &[u8], expects: Version) -> Result<(), Failure> {
        let (leaf, to) = (self.leaf(path)?, self.leaf(to)?);
        let staged = self.stage.link(&leaf, &to)?;
        // What was linked is what counts, whatever has happened to its name since.
        require_version(staged.directory(), staged.name(), expects)?;
        staged.replace_by_link(&leaf).map_err(in_the_way)
    }

    fn set_attributes(
        &self,
        path: &[u8],
        (kind, size): (FileKind, u64),
        attributes: &Attributes,
    ) -> Result<Vec<Lack>, Failure> {
        self.dress.check(attributes)?;
        let leaf = self.leaf_or_root(path)?;
        let entry = open_path(&leaf.directory, leaf.name()).map_err(|error| match error {
            Errno::NOENT => Failure::unexpected("it is not there"),
            error => Failure::of("open it", error),
        })?;
        let stat = rustix::fs::fstat(&entry).map_err(|error| Failure::of("examine it", error))?;
        let now =
            version(&stat).ok_or_else(|| Failure::unexpected("it is of a kind that is not replicated"))?;
        if (now.kind, now.size) != (kind, size) {
            return Err(Failure::unexpected("it is of another kind or size"));
        }
        self.dress.put_on(entry.as_fd(), false, attributes)
    }

    fn set_directory_time(&self, path: &[u8], mtime: Time) -> Result<(), Failure> {
        let leaf = self.leaf_or_root(path)?;
        let directory = open_path(&leaf.directory, leaf.name()).map_err(|error| match error {
            Errno::NOENT => Failure::unexpected("it is not there"),
            error => Failure::of("open it", error),
        })?;
        require_directory(&directory)?;
        set_times(&directory, mtime)
    }

    fn remove_file(&self, path: &[u8]) -> Result<(), Failure> {
        let leaf = match self.leaf(path) {
            Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(()),
            leaf => leaf?,
        };
        match rustix::fs::unlinkat(&leaf.directory, leaf.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(Failure::unexpected("it is a directory")),
            Err(error) => Err(Failure::of("remove it", error)),
        }
    }

    fn remove_directory(&self, path: &[u8]) -> Result<(), Failure> {
        let leaf = match self.leaf(path) {
            Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(()),
            leaf => leaf?,
        };
        match rustix::fs::unlinkat(&leaf.directory, leaf.name(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::NOTDIR) => Err(Failure::unexpected("it is not a directory")),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                Err(Failure::new(Refusal::NotEmpty, "the directory is not empty"))
            }
            Err(error) => Err(Failure::of("remove it", error)),
        }
    }

    fn rename(&self, from: &[u8], to: &[u8], expects: Version) -> Result<(), Failure> {
        let (from, to) = (self.leaf(from)?, self.leaf(to)?);
        require_version(&from.directory, from.name(), expects)?;
        if is_one_inode(&from, &to) {
            // Of two names of one inode the kernel would leave both.
            return rustix::fs::unlinkat(&from.directory, from.name(), AtFlags::empty())
                .map_err(|error| Failure::of("rename it", error));
        }
        match rustix::fs::renameat(&from.directory, from.name(), &to.directory, to.name()) {
            Ok(()) => Ok(()),
            Err(
                Errno::NOENT
                | Errno::EXIST
                | Errno::NOTEMPTY
                | Errno::ISDIR
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::INVAL,
            ) => Err(Failure::unexpected("it cannot be renamed to that name")),
            Err(error) => Err(Failure::of("rename it", error)),
        }
    }

    fn exchange(&self, one: (&[u8], Version), other: (&[u8], Version)) -> Result<(), Failure> {
        let (one_leaf, other_leaf) = (self.leaf(one.0)?, self.leaf(other.0)?);
        require_version(&one_leaf.directory, one_leaf.name(), one.1)?;
        require_version(&other_leaf.directory, other_leaf.name(), other.1)?;
        let flags = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(
            &one_leaf.directory,
            one_leaf.name(),
            &other_leaf.directory,
            other_leaf.name(),
            flags,
        )
        .map_err(|error| match error {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Failure::of("exchange the names", error),
            error => Failure::unexpected(format!("the names cannot be exchanged: {error}")),
        })
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Incoming {
    /// Adds content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.expect(bytes.len() as u64)?;
        self.file.write(bytes)
    }

    /// Adds zeros that take no space.
    pub fn hole(&mut self, length: u64) -> Result<(), Failure> {
        self.expect(length)?;
        self.file.hole(length)
    }

    /// Adds a range of the file that this one is built from.
    pub fn copy(&mut self, from: u64, length: u64) -> Result<(), Failure> {
        self.expect(length)?;
        match &self.old {
            Some(old) => self.file.copy(old, from, length),
            None => Err(Failure::old_file("none was named")),
        }
    }

    /// Refuses what would make the file longer than it shall be.
    fn expect(&mut self, more: u64) -> Result<(), Failure> {
        match self.left.checked_sub(more) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Failure::new(Refusal::Damaged, "more came than was promised")),
        }
    }
}

/// Only a directory refuses to be replaced by what is not one.
fn in_the_way(error: Errno) -> Failure {
    match error {
        Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY => Failure::unexpected("a directory is in the way"),
        Errno::NOENT => Failure::new(Refusal::NoParent, "its directory was removed"),
        error => Failure::of("put it into place", error),
    }
}

fn require_directory(entry: &OwnedFd) -> Result<(), Failure> {
    let stat = rustix::fs::fstat(entry).map_err(|error| Failure::of("examine it", error))?;
    match version(&stat) {
        Some(Version { kind: FileKind::Directory, .. }) => Ok(()),
        _ => Err(Failure::unexpected("it is not a directory")),
    }
}

/// Whether the target's entry is the one that the source means: a directory by its kind, as its
/// size and time follow from what is in it, and all else by size and time too.
fn require_version(directory: impl AsFd, name: &Path, expects: Version) -> Result<(), Failure> {
    match there(directory, name).map_err(|error| Failure::of("examine it", error))? {
        There::Version(now) if now.kind != expects.kind => Err(Failure::unexpected("it is of another kind")),
        There::Version(now)
            if now.kind == FileKind::Directory || (now.size, now.mtime) == (expects.size, expects.mtime) =>
        {
            Ok(())
        }
        There::Version(_) => Err(Failure::unexpected("it is of another size or time")),
        There::Foreign => Err(Failure::unexpected("it is of a kind that is not replicated")),
        There::Nothing => Err(Failure::unexpected("it is not there")),
    }
}

/// Whether two names are hard links of each other.
fn is_one_inode(one: &Leaf, other: &Leaf) -> bool {
    let inode = |leaf: &Leaf| {
        let stat = rustix::fs::statat(&leaf.directory, leaf.name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    inode(one).is_some_and(|one| inode(other) == Some(one))
}
