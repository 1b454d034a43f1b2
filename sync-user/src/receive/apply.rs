//! Applies one step: each a function, each all or nothing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode as RawMode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::attributes::{There, open_path, set_mode, there, times, version};
use super::confine::{Leaf, checked, leaf};
use super::failure::{Failure, OpenError};
use super::stage::{Stage, StagedFile};
use crate::model::{Content, FileKind, Mode, Refusal, Time, Version};
use crate::wire::{Body, Step};

/// The tree of a target.
#[derive(Debug)]
pub struct Root {
    descriptor: OwnedFd,
    stage: Stage,
}

/// A file whose content is still coming; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    file: StagedFile,
    path: Vec<u8>,
    size: u64,
    mode: Mode,
    mtime: Time,
}

/// How far a step got.
pub enum Progress {
    Done,
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
        Ok(Self { descriptor, stage })
    }

    /// Says who sends, before anything else is done for it: what an earlier connection of the
    /// same source has left running ends here.
    pub fn claim(&mut self, source: &[u8; 16]) -> Result<(), OpenError> {
        self.stage.claim(source)
    }

    /// Applies `step`, or refuses it and leaves everything as it was.
    pub fn apply(&mut self, step: Step) -> Result<Progress, Failure> {
        match step {
            Step::MakeDirectory { path, mode } => self.make_directory(&path, mode)?,
            Step::PutFile { path, size, mode, mtime, body } => {
                let file = self.stage.file(&self.leaf(&path)?)?;
                let mut incoming = Incoming { file, path, size, mode, mtime };
                match body {
                    Body::Streamed => return Ok(Progress::Wants(incoming)),
                    Body::Inline { bytes, content } => {
                        incoming.write(&bytes)?;
                        self.finish(incoming, content)?;
                    }
                }
            }
            Step::PutSymlink { path, destination, mtime } => {
                let leaf = self.leaf(&path)?;
                let staged = self.stage.symlink(&leaf, Path::new(OsStr::from_bytes(&destination)), mtime)?;
                staged.replace(&leaf).map_err(in_the_way)?;
            }
            Step::SetAttributes { path, version } => self.set_attributes(&path, version)?,
            Step::SetDirectoryTime { path, mtime } => self.set_directory_time(&path, mtime)?,
            Step::RemoveFile { path } => self.remove_file(&path)?,
            Step::RemoveDirectory { path } => self.remove_directory(&path)?,
            Step::Rename { from, to, expects } => self.rename(&from, &to, expects)?,
            Step::Exchange { one, other, expects_one, expects_other } => {
                self.exchange((&one, expects_one), (&other, expects_other))?;
            }
        }
        Ok(Progress::Done)
    }

    /// Puts a file into place whose content has all come.
    pub fn finish(&mut self, incoming: Incoming, content: Content) -> Result<(), Failure> {
        let Incoming { file, path, size, mode, mtime } = incoming;
        let staged = file.finish(size, content, mode, mtime)?;
        // Opened again, since much may have happened while the content came.
        staged.replace(&self.leaf(&path)?).map_err(in_the_way)
    }

    fn leaf(&self, path: &[u8]) -> Result<Leaf, Failure> {
        leaf(&self.descriptor, checked(path)?)
    }

    fn make_directory(&mut self, path: &[u8], mode: Mode) -> Result<(), Failure> {
        let leaf = self.leaf(path)?;
        match there(&leaf.directory, leaf.name()).map_err(|error| Failure::of("examine it", error))? {
            There::Version(Version { kind: FileKind::Directory, mode: before, .. }) => {
                if before != mode {
                    let directory = open_path(&leaf.directory, leaf.name())
                        .map_err(|error| Failure::of("open it", error))?;
                    require_directory(&directory)?;
                    set_mode(&directory, mode).map_err(|error| Failure::of("set its mode", error))?;
                }
                Ok(())
            }
            before => {
                let staged = self.stage.directory(&leaf, mode)?;
                let placed =
                    if before == There::Nothing { staged.replace(&leaf) } else { staged.exchange(&leaf) };
                placed.map_err(|error| Failure::of("put the directory into place", error))
            }
        }
    }

    fn set_attributes(&self, path: &[u8], wanted: Version) -> Result<(), Failure> {
        let leaf = self.leaf(path)?;
        let entry = open_path(&leaf.directory, leaf.name()).map_err(|error| match error {
            Errno::NOENT => Failure::unexpected("it is not there"),
            error => Failure::of("open it", error),
        })?;
        let stat = rustix::fs::fstat(&entry).map_err(|error| Failure::of("examine it", error))?;
        let now =
            version(&stat).ok_or_else(|| Failure::unexpected("it is of a kind that is not replicated"))?;
        if (now.kind, now.size) != (wanted.kind, wanted.size) {
            return Err(Failure::unexpected("it is of another kind or size"));
        }
        if wanted.kind != FileKind::Symlink && now.mode != wanted.mode {
            set_mode(&entry, wanted.mode).map_err(|error| Failure::of("set its mode", error))?;
        }
        set_times(entry.as_fd(), wanted.mtime)
    }

    fn set_directory_time(&self, path: &[u8], mtime: Time) -> Result<(), Failure> {
        let leaf = self.leaf(path)?;
        let directory = open_path(&leaf.directory, leaf.name()).map_err(|error| match error {
            Errno::NOENT => Failure::unexpected("it is not there"),
            error => Failure::of("open it", error),
        })?;
        require_directory(&directory)?;
        set_times(directory.as_fd(), mtime)
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
        require_version(&from, expects)?;
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
        require_version(&one_leaf, one.1)?;
        require_version(&other_leaf, other.1)?;
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
        self.file.write(bytes)
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
fn require_version(leaf: &Leaf, expects: Version) -> Result<(), Failure> {
    match there(&leaf.directory, leaf.name()).map_err(|error| Failure::of("examine it", error))? {
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

fn set_times(entry: BorrowedFd<'_>, mtime: Time) -> Result<(), Failure> {
    rustix::fs::utimensat(entry, "", &times(mtime), AtFlags::EMPTY_PATH)
        .map_err(|error| Failure::of("set its time", error))
}
