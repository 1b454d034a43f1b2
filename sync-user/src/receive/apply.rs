//! Applies one step: each a function, each all or nothing.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode as RawMode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::arrived::Told;
use super::attributes::{open_path, there, version};
use super::confine::{Leaf, checked, checked_or_root, leaf};
use super::contest::{Contender, may_set_mode};
use super::disk::Disk;
use super::dress::{Dress, set_times};
use super::examine::{Examiner, Translation};
use super::expect::{self, look, met, require};
use super::failure::{Failure, OpenError};
use super::marker;
use super::place::{contested, place};
use super::put_file::{Incoming, Whole};
use super::sandbox;
use super::sources;
use super::stage::Stage;
use super::two_way::TwoWay;
use crate::home::trash::Trash;
use crate::model::{
    Content, Durability, Expected, FileKind, Lack, Met, Named, Preserve, Refusal, There, Time, TreePath,
    Version,
};
use crate::wire::{Attributes, Claimed, SourceHello, Step};

/// The tree of a target.
#[derive(Debug)]
pub struct Root {
    descriptor: OwnedFd,
    pub(super) stage: Stage,
    /// Shared with those who look at the tree meanwhile.
    pub(super) dress: Arc<Dress>,
    pub(super) durability: Durability,
    /// Whether steps wait for the rest of their batch.
    pub(super) publishes: bool,
    /// Where the other end may be changed as well.
    pub(super) two_way: Option<TwoWay>,
    /// Where what is removed is kept for a time, if the source wants that.
    pub(super) trash: Option<Trash>,
}

/// How far a step got.
pub enum Progress {
    Done(Done),
    /// Content follows.
    Wants(Incoming),
    /// All content is here, and not visible yet: see [`Root::publish`].
    Whole(Box<Whole>),
}

/// A step that was applied.
#[derive(Debug)]
pub struct Done {
    /// What the target cannot set, while all else is done.
    pub lacks: Vec<Lack>,
    pub met: Met,
}

impl Done {
    fn lacking(lacks: Vec<Lack>, met: Met) -> Self {
        Self { lacks, met }
    }

    pub(super) fn all(met: Met) -> Self {
        Self::lacking(Vec::new(), met)
    }
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
        let dress = Arc::new(Dress::new(Preserve::NONE));
        let (durability, publishes, two_way, trash) = (Durability::None, false, None, None);
        Ok(Self { descriptor, stage, dress, durability, publishes, two_way, trash })
    }

    /// Says who sends and what is to be preserved, before anything else is done for it: what an
    /// earlier connection of the same source has left running ends here. Says which root this is.
    pub fn claim(&mut self, hello: &SourceHello) -> Result<Claimed, OpenError> {
        let shares = hello.shares || hello.two_way.is_some();
        sources::admit(self.stage.home(), &hello.source, &hello.name, shares)?;
        self.durability = hello.durability;
        self.publishes = hello.publishes;
        self.dress = Arc::new(Dress::new(hello.preserve));
        self.stage.claim(&hello.source)?;
        let claimed = marker::mark(&self.descriptor, self.stage.home()).map_err(|error| OpenError {
            what: format!("the target cannot be examined: {error}"),
            remedy: "check the target's disk".to_owned(),
        })?;
        if let Some(root) = hello.two_way {
            self.two_way = Some(TwoWay::with(hello.name.clone(), root));
            self.reach_resident();
        }
        self.trash = hello.trash.map(Trash::new);
        self.purge();
        Ok(Claimed { is_shared: sources::are_several(self.stage.home()), ..claimed })
    }

    /// The directory that this is, by its whole name.
    pub fn place(&self) -> PathBuf {
        // Where `/proc` is missing nothing can be compared with it, and that is all.
        std::fs::read_link(format!("/proc/self/fd/{}", self.descriptor.as_raw_fd())).unwrap_or_default()
    }

    /// Leaves the calling thread nothing but this root, from now on; says why that cannot be.
    pub fn lock_in(&self) -> Result<(), String> {
        sandbox::lock_in(&self.descriptor).map_err(|error| error.to_string())
    }

    /// The disk that this root is on.
    pub fn disk(&self) -> std::io::Result<Disk> {
        Ok(Disk::new(self.descriptor.try_clone()?, self.durability))
    }

    /// Learns the names of users and groups of the source.
    pub fn learn(&mut self, users: &[Named], groups: &[Named]) {
        Arc::make_mut(&mut self.dress).owners.learn(users, groups);
    }

    /// Answers questions about this root, from a thread of its own.
    pub fn examiner(&self) -> std::io::Result<Examiner> {
        Ok(Examiner::new(self.descriptor.try_clone()?))
    }

    /// Whom entries belong to, as far as the source has named them by now.
    pub fn translation(&self) -> Translation {
        Translation(Arc::clone(&self.dress))
    }

    /// Applies `step`, or refuses it and leaves everything as it was. A file is only staged.
    pub fn apply(&mut self, step: Step) -> Result<Progress, Failure> {
        match step {
            // It tells by itself, once it becomes visible.
            Step::PutFile { path, expects, size, stored, attributes, body } => {
                self.put_file(path, expects, (size, stored), attributes, body)
            }
            step => self.apply_at_once(step).map(Progress::Done),
        }
    }

    /// Applies a step that puts no file.
    pub fn apply_at_once(&mut self, step: Step) -> Result<Done, Failure> {
        let Some(told) = self.two_way.is_some().then(|| Told::of(&step)) else {
            return self.apply_here(step);
        };
        self.begins(&told.paths());
        let result = self.apply_here(step);
        let arrived = result.is_ok().then(|| told.arrived(self)).flatten();
        self.ends(arrived);
        result
    }

    fn apply_here(&mut self, step: Step) -> Result<Done, Failure> {
        match step {
            Step::PutFile { .. } => Err(Failure::unexpected("a file is not put at once")),
            Step::MakeDirectory { path, expects, attributes } => {
                self.make_directory(&path, expects, &attributes)
            }
            Step::PutSymlink { path, expects, destination, attributes } => {
                self.put_symlink(&path, expects, Path::new(OsStr::from_bytes(&destination)), &attributes)
            }
            Step::Link { path, to, expects, replaces } => self.link(&path, &to, expects, replaces),
            Step::SetAttributes { path, expects, kind, size, attributes } => {
                self.set_attributes(&path, expects, (kind, size), &attributes)
            }
            Step::SetDirectoryTime { path, mtime } => self.set_directory_time(&path, mtime),
            Step::RemoveFile { path, expects } => self.remove_file(&path, expects),
            Step::RemoveDirectory { path } => self.remove_directory(&path),
            Step::Rename { from, to, expects, replaces } => self.rename(&from, &to, expects, replaces),
            Step::Exchange { one, other, expects_one, expects_other } => {
                self.exchange((&one, expects_one), (&other, expects_other))
            }
        }
    }

    pub(super) fn leaf(&self, path: &[u8]) -> Result<Leaf, Failure> {
        leaf(&self.descriptor, checked(path)?)
    }

    /// Of steps that only change what is there, and may do so to the root.
    pub(super) fn leaf_or_root(&self, path: &[u8]) -> Result<Leaf, Failure> {
        leaf(&self.descriptor, checked_or_root(path)?)
    }

    fn put_symlink(
        &mut self,
        path: &[u8],
        expects: Expected,
        destination: &Path,
        attributes: &Attributes,
    ) -> Result<Done, Failure> {
        self.dress.check(attributes)?;
        let leaf = self.leaf(path)?;
        let there = look(&leaf)?;
        if let Some(link) = expect::holds_symlink(&leaf, there, destination) {
            let lacks = self.dress.put_on(link.as_fd(), false, attributes)?;
            return Ok(Done::lacking(lacks, Met::Already));
        }
        let (staged, lacks) = self.stage.symlink(&leaf, destination, attributes, &self.dress)?;
        if self.two_way.is_some() {
            let bytes = destination.as_os_str().as_bytes();
            let contender = Contender {
                kind: FileKind::Symlink,
                size: bytes.len() as u64,
                mtime: attributes.mtime,
                content: Some(Content::of(bytes)),
            };
            return Ok(Done::lacking(lacks, place(&staged, &leaf, &expects, &contender, self.loft())?));
        }
        staged.replace(&leaf).map_err(|error| in_the_way(&leaf, error))?;
        Ok(Done::lacking(lacks, met(there, &expects)))
    }

    fn make_directory(
        &mut self,
        path: &[u8],
        expects: Expected,
        attributes: &Attributes,
    ) -> Result<Done, Failure> {
        self.dress.check(attributes)?;
        let leaf = self.leaf_or_root(path)?;
        let there = look(&leaf)?;
        if there.is_directory() {
            let directory =
                open_path(&leaf.directory, leaf.name()).map_err(|error| Failure::of("open it", error))?;
            require_directory(&leaf.path, &directory)?;
            let lacks = if self.may_dress(there, &expects, attributes.mode) {
                self.dress.put_on(directory.as_fd(), false, attributes)?
            } else {
                Vec::new()
            };
            // Whoever made it: what is in it stays, and nothing is replaced.
            return Ok(Done::lacking(lacks, Met::Already));
        }
        let (staged, lacks) = self.stage.directory(&leaf, attributes, &self.dress)?;
        if self.two_way.is_some() {
            let contender =
                Contender { kind: FileKind::Directory, size: 0, mtime: Time::UNKNOWN, content: None };
            return Ok(Done::lacking(lacks, place(&staged, &leaf, &expects, &contender, self.loft())?));
        }
        let placed = if there == There::Nothing { staged.replace(&leaf) } else { staged.swap(&leaf) };
        placed.map_err(|error| Failure::of("put the directory into place", error))?;
        Ok(Done::lacking(lacks, met(there, &expects)))
    }

    fn link(
        &mut self,
        path: &[u8],
        to: &[u8],
        expects: Version,
        replaces: Expected,
    ) -> Result<Done, Failure> {
        let (leaf, to) = (self.leaf(path)?, self.leaf(to)?);
        let staged = self.stage.link(&leaf, &to)?;
        // What was linked is what counts, whatever has happened to its name since.
        let linked = there(staged.directory(), staged.name());
        let linked = linked.map_err(|error| Failure::of("examine it", error))?;
        require(&to.path, linked, &Expected::This(expects))?;
        let met = if is_one_inode(&leaf, &to) { Met::Already } else { met(look(&leaf)?, &replaces) };
        if let (true, Met::Other(there)) = (self.two_way.is_some(), met) {
            return Err(expect::found(&leaf.path, there, "something else is there"));
        }
        staged.replace_by_link(&leaf).map_err(|error| in_the_way(&leaf, error))?;
        Ok(Done::all(met))
    }

    fn set_attributes(
        &self,
        path: &[u8],
        expects: Expected,
        (kind, size): (FileKind, u64),
        attributes: &Attributes,
    ) -> Result<Done, Failure> {
        self.dress.check(attributes)?;
        let leaf = self.leaf_or_root(path)?;
        let entry = open(&leaf)?;
        let stat = rustix::fs::fstat(&entry).map_err(|error| Failure::of("examine it", error))?;
        let now = version(&stat);
        let there = now.map_or(There::Foreign, There::Version);
        let is_that = |now: Version| (now.kind, now.size) == (kind, size);
        // Another name of the inode, or this step once before, may have made it so.
        let is_already = now.is_some_and(|now| is_that(now) && now.mtime == attributes.mtime);
        if !is_already {
            require(&leaf.path, there, &expects)?;
        }
        if !now.is_some_and(is_that) {
            return Err(expect::found(&leaf.path, there, "it is of another kind or size"));
        }
        if let (true, Some(now)) = (self.two_way.is_some(), now)
            && !may_set_mode(&now, &expects, attributes.mode)
        {
            return Err(contested(&leaf, there));
        }
        let lacks = self.dress.put_on(entry.as_fd(), false, attributes)?;
        Ok(Done::lacking(lacks, if is_already { Met::Already } else { Met::Expected }))
    }

    fn set_directory_time(&self, path: &[u8], mtime: Time) -> Result<Done, Failure> {
        let leaf = self.leaf_or_root(path)?;
        let directory = open(&leaf)?;
        require_directory(&leaf.path, &directory)?;
        set_times(&directory, mtime)?;
        Ok(Done::all(Met::Expected))
    }

    fn rename(&self, from: &[u8], to: &[u8], expects: Version, replaces: Expected) -> Result<Done, Failure> {
        let (from, to) = (self.leaf(from)?, self.leaf(to)?);
        require(&from.path, look(&from)?, &Expected::This(expects))?;
        if is_one_inode(&from, &to) {
            // Of two names of one inode the kernel would leave both.
            return rustix::fs::unlinkat(&from.directory, from.name(), AtFlags::empty())
                .map(|()| Done::all(Met::Expected))
                .map_err(|error| Failure::of("rename it", error));
        }
        let before = look(&to)?;
        let met = met(before, &replaces);
        if let (true, Met::Other(there)) = (self.two_way.is_some(), met) {
            return Err(expect::found(&to.path, there, "something else is there"));
        }
        match rustix::fs::renameat(&from.directory, from.name(), &to.directory, to.name()) {
            Ok(()) => Ok(Done::all(met)),
            Err(
                Errno::NOENT
                | Errno::EXIST
                | Errno::NOTEMPTY
                | Errno::ISDIR
                | Errno::NOTDIR
                | Errno::XDEV
                | Errno::INVAL,
            ) => {
                let detail = "it cannot be renamed to that name";
                Err(if met == Met::Expected {
                    Failure::unexpected(detail)
                } else {
                    expect::found(&to.path, before, detail)
                })
            }
            Err(error) => Err(Failure::of("rename it", error)),
        }
    }

    fn exchange(&self, one: (&[u8], Version), other: (&[u8], Version)) -> Result<Done, Failure> {
        let (one_leaf, other_leaf) = (self.leaf(one.0)?, self.leaf(other.0)?);
        require(&one_leaf.path, look(&one_leaf)?, &Expected::This(one.1))?;
        require(&other_leaf.path, look(&other_leaf)?, &Expected::This(other.1))?;
        rustix::fs::renameat_with(
            &one_leaf.directory,
            one_leaf.name(),
            &other_leaf.directory,
            other_leaf.name(),
            RenameFlags::EXCHANGE,
        )
        .map(|()| Done::all(Met::Expected))
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

/// Only a directory refuses to be replaced by what is not one.
pub(super) fn in_the_way(leaf: &Leaf, error: Errno) -> Failure {
    match error {
        Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY => match look(leaf) {
            Ok(there) => expect::found(&leaf.path, there, "a directory is in the way"),
            Err(failure) => failure,
        },
        Errno::NOENT => Failure::new(Refusal::NoParent, "its directory was removed"),
        error => Failure::of("put it into place", error),
    }
}

/// Opens what a step is to change, without access to its content.
fn open(leaf: &Leaf) -> Result<OwnedFd, Failure> {
    open_path(&leaf.directory, leaf.name()).map_err(|error| match error {
        Errno::NOENT => expect::found(&leaf.path, There::Nothing, "it is not there"),
        error => Failure::of("open it", error),
    })
}

fn require_directory(path: &TreePath, entry: &OwnedFd) -> Result<(), Failure> {
    let stat = rustix::fs::fstat(entry).map_err(|error| Failure::of("examine it", error))?;
    let there = version(&stat).map_or(There::Foreign, There::Version);
    if there.is_directory() { Ok(()) } else { Err(expect::found(path, there, "it is not a directory")) }
}

/// Whether two names are hard links of each other.
fn is_one_inode(one: &Leaf, other: &Leaf) -> bool {
    let inode = |leaf: &Leaf| {
        let stat = rustix::fs::statat(&leaf.directory, leaf.name(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    inode(one).is_some_and(|one| inode(other) == Some(one))
}
