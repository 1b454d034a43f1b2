//! Builds files and links out of sight, until they are whole.
//!
//! They are made in a directory of this receiver's own inside `.ksyncd` at the root, which no
//! web server shows and no source replicates, and then renamed into place. A receiver that died
//! leaves its directory behind; the next one removes it, knowing by the lock that nobody uses it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode as RawMode, OFlags};
use rustix::io::Errno;

use super::attributes::open_path;
use super::confine::Leaf;
use super::dress::Dress;
use super::expect::{found, look};
use super::failure::{Failure, OpenError};
use super::old::{OldFile, needs_reading};
use super::predecessor;
use super::space;
use crate::home::{self, open_directory};
use crate::metadata::XattrPlace;
use crate::model::{Content, Lack, Refusal, There};
use crate::wire::{Attributes, INLINE_BYTES_MAX};

/// Names in the stage that one start tries before it gives up.
const ATTEMPTS_MAX: u32 = 1_000;

/// File systems share blocks of this size, or of a part of it.
const SHARED_BYTES: u64 = 4096;

/// What is read at once of what was copied.
const COPY_BUFFER_BYTES: usize = 256 << 10;

/// The stage of one receiver; dropping it removes it.
#[derive(Debug)]
pub(super) struct Stage {
    /// `.ksyncd`.
    home: OwnedFd,
    /// This receiver's directory in it, locked for as long as it is open.
    own: Arc<OwnedFd>,
    own_name: String,
    device: u64,
    count: u64,
}

impl Stage {
    pub(super) fn open(root: &OwnedFd, root_path: &Path) -> Result<Self, OpenError> {
        Self::try_open(root).map_err(|error| {
            let remedy = match error {
                Errno::NOSPC | Errno::DQUOT => "free some space on the target's disk".to_owned(),
                Errno::ROFS => "mount the target's file system read-write".to_owned(),
                _ => format!(
                    "let the receiving user write there, for example by `chown {} {}`",
                    user(),
                    root_path.display()
                ),
            };
            OpenError {
                what: format!("the target {} cannot be written: {error}", root_path.display()),
                remedy,
            }
        })
    }

    fn try_open(root: &OwnedFd) -> Result<Self, Errno> {
        let home = home::open(root)?;
        // Nothing that is staged shall inherit what holds for the root.
        XattrPlace::of(&home).remove(b"system.posix_acl_default")?;
        remove_stale(&home);
        let process = std::process::id();
        for attempt in 0..ATTEMPTS_MAX {
            let own_name = format!("stage-{process}-{attempt}");
            match rustix::fs::mkdirat(&home, &own_name, RawMode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error),
            }
            let own = open_directory(&home, Path::new(&own_name))?;
            // If not, another receiver took it for stale between the two calls.
            if rustix::fs::flock(&own, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let device = rustix::fs::fstat(&own)?.st_dev;
                return Ok(Self { home, own: Arc::new(own), own_name, device, count: 0 });
            }
        }
        Err(Errno::EXIST)
    }

    /// `.ksyncd`, where all stages are.
    pub(super) fn home(&self) -> &OwnedFd {
        &self.home
    }

    /// This receiver's own directory in it.
    pub(super) fn own(&self) -> &OwnedFd {
        &self.own
    }

    /// Says whose stage this is, and ends what an earlier connection of this source left behind.
    pub(super) fn claim(&mut self, source: &[u8; 16]) -> Result<(), OpenError> {
        let failed = |error: Errno| OpenError {
            what: format!("the stage cannot be named after its source: {error}"),
            remedy: format!("let the receiving user write to {} in the target", home::NAME),
        };
        let name = predecessor::stage_name(std::process::id(), source);
        rustix::fs::renameat(&self.home, &self.own_name, &self.home, &name).map_err(failed)?;
        self.own_name = name;
        for name in names(&self.home) {
            if predecessor::is_stage_by_sftp(&name, source) {
                self.take_over(&name);
                continue;
            }
            let Some(process) = predecessor::process_of(&name, source) else { continue };
            if name.as_os_str() == self.own_name.as_str() {
                continue;
            }
            // It may end by itself meanwhile.
            if let Ok(stage) = open_directory(&self.home, &name) {
                predecessor::end(process, &stage)?;
                empty(&stage);
                let _gone = rustix::fs::unlinkat(&self.home, &name, AtFlags::REMOVEDIR);
            }
        }
        Ok(())
    }

    /// Removes what a connection by SFTP has left. Under another name it is found by nothing that is still
    /// on its way there.
    fn take_over(&self, name: &Path) {
        let own = Path::new(&self.own_name).join(name);
        if rustix::fs::renameat(&self.home, name, &self.home, &own).is_ok()
            && let Ok(stage) = open_directory(&self.home, &own)
        {
            empty(&stage);
            let _gone = rustix::fs::unlinkat(&self.home, &own, AtFlags::REMOVEDIR);
        }
    }

    /// Where something for `leaf` is built: in the stage, or beside the leaf when that is on
    /// another file system, to which nothing can be renamed.
    fn place(&mut self, leaf: &Leaf) -> Result<(Arc<OwnedFd>, PathBuf), Failure> {
        let name = self.next_name();
        let here = rustix::fs::fstat(&leaf.directory)
            .map_err(|error| Failure::of("examine its directory", error))?;
        if here.st_dev == self.device {
            return Ok((Arc::clone(&self.own), name));
        }
        let name = format!("{}.{}.{}", home::NAME, std::process::id(), name.display());
        let directory = rustix::io::fcntl_dupfd_cloexec(&leaf.directory, 0)
            .map_err(|error| Failure::of("stage it", error))?;
        Ok((Arc::new(directory), PathBuf::from(name)))
    }

    /// A name in the stage that nothing had before.
    fn next_name(&mut self) -> PathBuf {
        self.count += 1;
        PathBuf::from(self.count.to_string())
    }

    /// Takes what is at `leaf` out of the tree, to be removed when it is dropped.
    pub(super) fn take_out(&mut self, leaf: &Leaf) -> Result<Staged, Failure> {
        let (directory, name) = self.place(leaf)?;
        match rustix::fs::renameat(&leaf.directory, leaf.name(), &directory, &name) {
            Ok(()) => Ok(Staged { directory, name, kept: false }),
            Err(Errno::NOENT) => Err(Failure::new(Refusal::NoParent, "it is gone")),
            Err(error) => Err(Failure::of("take it out", error)),
        }
    }

    /// Begins a file that takes so many bytes of the disk.
    /// Without a leaf its directory is still to come, and is taken to be on the file system of the root.
    pub(super) fn file(&mut self, leaf: Option<&Leaf>, stored: u64) -> Result<StagedFile, Failure> {
        let (directory, name) = match leaf {
            Some(leaf) => self.place(leaf)?,
            None => (Arc::clone(&self.own), self.next_name()),
        };
        if stored > INLINE_BYTES_MAX as u64 {
            space::require(&directory, stored)?;
        }
        // What is copied into it is read again, to be hashed.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, &name, flags, RawMode::RUSR | RawMode::WUSR)
            .map_err(|error| Failure::of("stage it", error))?;
        let staged = Staged { directory, name, kept: false };
        Ok(StagedFile {
            file: File::from(file),
            hasher: Box::default(),
            written: 0,
            buffer: Vec::new(),
            ends_in_hole: false,
            staged,
        })
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(
        &mut self,
        leaf: &Leaf,
        destination: &Path,
        attributes: &Attributes,
        dress: &Dress,
    ) -> Result<(Staged, Vec<Lack>), Failure> {
        let (directory, name) = self.place(leaf)?;
        rustix::fs::symlinkat(destination, &directory, &name)
            .map_err(|error| Failure::of("make the link", error))?;
        Staged { directory, name, kept: false }.dressed(attributes, dress)
    }

    /// Makes another name of what `to` is, for `leaf`.
    pub(super) fn link(&mut self, leaf: &Leaf, to: &Leaf) -> Result<Staged, Failure> {
        let (directory, name) = self.place(leaf)?;
        let linked = rustix::fs::linkat(&to.directory, to.name(), &directory, &name, AtFlags::empty());
        match linked {
            Ok(()) => Ok(Staged { directory, name, kept: false }),
            Err(Errno::NOENT) => {
                Err(found(&to.path, There::Nothing, "what it is to be a link of is not there"))
            }
            // The kernel says so by EPERM, which else means that links cannot be had here.
            Err(Errno::PERM) if look(to)?.is_directory() => {
                Err(found(&to.path, look(to)?, "what it is to be a link of is a directory"))
            }
            Err(error @ (Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP)) => {
                Err(Failure::new(Refusal::Unlinkable, format!("link it: {error}")))
            }
            Err(error) => Err(Failure::of("link it", error)),
        }
    }

    /// Makes a directory.
    pub(super) fn directory(
        &mut self,
        leaf: &Leaf,
        attributes: &Attributes,
        dress: &Dress,
    ) -> Result<(Staged, Vec<Lack>), Failure> {
        let (directory, name) = self.place(leaf)?;
        rustix::fs::mkdirat(&directory, &name, RawMode::RWXU)
            .map_err(|error| Failure::of("make the directory", error))?;
        Staged { directory, name, kept: false }.dressed(attributes, dress)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        empty(&self.own);
        // Whatever stays is removed by the next receiver.
        let _stale = rustix::fs::unlinkat(&self.home, &self.own_name, AtFlags::REMOVEDIR);
    }
}

/// A file that is being written, out of sight.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: File,
    /// Boxed, as it is 2 KB.
    hasher: Box<blake3::Hasher>,
    written: u64,
    /// What was copied is read into it; it stays empty until something is.
    buffer: Vec<u8>,
    /// Its length has to be set, as nothing was written at its end.
    ends_in_hole: bool,
    staged: Staged,
}

impl StagedFile {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Failure::of("write its content", errno)
        })?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.ends_in_hole = false;
        Ok(())
    }

    /// Leaves out `length` bytes, which read as zeros.
    pub(super) fn hole(&mut self, length: u64) -> Result<(), Failure> {
        self.file
            .seek_relative(i64::try_from(length).unwrap_or(i64::MAX))
            .and_then(|()| self.hasher.update_reader(io::repeat(0).take(length)).map(drop))
            .map_err(|error| {
                Failure::of("leave a hole in it", Errno::from_io_error(&error).unwrap_or(Errno::IO))
            })?;
        self.written += length;
        self.ends_in_hole = true;
        Ok(())
    }

    /// Adds `length` bytes of an old file, from `from` on.
    ///
    /// The kernel copies, or lets both files share whole blocks where the file system can. What
    /// was copied is hashed as it is in the new file: somebody may be writing to the old one.
    pub(super) fn copy(&mut self, old: &OldFile, from: u64, length: u64) -> Result<(), Failure> {
        old.check(from, length)?;
        self.buffer.resize(COPY_BUFFER_BYTES, 0);
        let (mut at, end) = (from, from + length);
        while at < end {
            let copied = match self.copy_some(old, at, end) {
                Err(error) if needs_reading(error) => self.rewrite_some(old, at, end),
                copied => copied.and_then(|count| self.hash_back(count).map(|()| count)),
            };
            match copied {
                Ok(0) => return Err(Failure::old_file("it has become shorter")),
                Ok(count) => at += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(Failure::of("copy its content", error)),
            }
        }
        self.ends_in_hole = false;
        Ok(())
    }

    /// Has the kernel copy; says how much that was.
    fn copy_some(&mut self, old: &OldFile, at: u64, end: u64) -> Result<u64, Errno> {
        // Only whole blocks can be shared, and one that is not whole spoils all of one call.
        let whole = end / SHARED_BYTES * SHARED_BYTES;
        let end = if at.is_multiple_of(SHARED_BYTES) && at < whole { whole } else { end };
        let (mut place, length) = (at, usize::try_from(end - at).unwrap_or(usize::MAX));
        let count = rustix::fs::copy_file_range(&old.file, Some(&mut place), &self.file, None, length)?;
        Ok(count as u64)
    }

    /// Hashes the last `count` bytes of the file.
    fn hash_back(&mut self, count: u64) -> Result<(), Errno> {
        let end = self.written + count;
        while self.written < end {
            let wanted = usize::try_from(end - self.written).unwrap_or(usize::MAX).min(self.buffer.len());
            match rustix::io::pread(&self.file, &mut self.buffer[..wanted], self.written) {
                Ok(0) => return Err(Errno::IO),
                Ok(read) => {
                    self.hasher.update(&self.buffer[..read]);
                    self.written += read as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Copies where the kernel does not; says how much that was.
    fn rewrite_some(&mut self, old: &OldFile, at: u64, end: u64) -> Result<u64, Errno> {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.buffer.len());
        let count = rustix::io::pread(&old.file, &mut self.buffer[..wanted], at)?;
        self.file
            .write_all(&self.buffer[..count])
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        self.hasher.update(&self.buffer[..count]);
        self.written += count as u64;
        Ok(count as u64)
    }

    /// Checks that all content came as the source had it, and finishes the file; one that shall
    /// be `durable` is on the disk then.
    pub(super) fn finish(
        self,
        (size, content): (u64, Content),
        durable: bool,
        attributes: &Attributes,
        dress: &Dress,
    ) -> Result<(Staged, Vec<Lack>), Failure> {
        let Self { file, hasher, written, buffer: _, ends_in_hole, staged } = self;
        if written != size || Content(hasher.finalize().into()) != content {
            return Err(Failure::new(
                Refusal::Damaged,
                format!("{written} of {size} bytes came, or their hash differs"),
            ));
        }
        if ends_in_hole {
            rustix::fs::ftruncate(&file, size).map_err(|error| Failure::of("set its size", error))?;
        }
        if durable {
            rustix::fs::fdatasync(&file).map_err(|error| Failure::of("write it to the disk", error))?;
        }
        let lacks = dress.put_on(file.as_fd(), true, attributes)?;
        Ok((staged, lacks))
    }
}

/// Something whole that waits to be put into place; dropping it removes it.
#[derive(Debug)]
pub(super) struct Staged {
    /// Of many that wait it is one and the same.
    directory: Arc<OwnedFd>,
    name: PathBuf,
    kept: bool,
}

impl Staged {
    fn dressed(self, attributes: &Attributes, dress: &Dress) -> Result<(Self, Vec<Lack>), Failure> {
        let entry = open_path(&self.directory, &self.name).map_err(|error| Failure::of("open it", error))?;
        let lacks = dress.put_on(entry.as_fd(), true, attributes)?;
        Ok((self, lacks))
    }

    /// Puts it into place, over whatever is there, in one act.
    pub(super) fn replace(mut self, leaf: &Leaf) -> Result<(), Errno> {
        rustix::fs::renameat(&self.directory, &self.name, &leaf.directory, leaf.name())?;
        self.kept = true;
        Ok(())
    }

    /// Puts it into place, where nothing may be.
    pub(super) fn settle(&self, leaf: &Leaf) -> Result<(), Errno> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(&self.directory, &self.name, &leaf.directory, leaf.name(), flags)
    }

    /// Swaps it with what is there, in one act; then this is what was there, and is removed when it is
    /// dropped.
    pub(super) fn swap(&self, leaf: &Leaf) -> Result<(), Errno> {
        let flags = rustix::fs::RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(&self.directory, &self.name, &leaf.directory, leaf.name(), flags)
    }

    /// The same for a link: the kernel leaves both names where the inode has the other already,
    /// so the one in the stage is removed in any case.
    pub(super) fn replace_by_link(self, leaf: &Leaf) -> Result<(), Errno> {
        rustix::fs::renameat(&self.directory, &self.name, &leaf.directory, leaf.name())
    }

    pub(super) fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    pub(super) fn name(&self) -> &Path {
        &self.name
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is removed with the stage.
            let _kind = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty())
                .or_else(|_| rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::REMOVEDIR));
        }
    }
}

/// Removes the stages of receivers that died.
fn remove_stale(home: &OwnedFd) {
    for name in names(home).iter().filter(|name| predecessor::is_stage(name)) {
        let Ok(stage) = open_directory(home, name) else {
            continue;
        };
        if rustix::fs::flock(&stage, FlockOperation::NonBlockingLockExclusive).is_ok() {
            empty(&stage);
            let _in_use = rustix::fs::unlinkat(home, name, AtFlags::REMOVEDIR);
        }
    }
}

/// Removes what a stage holds: files, links and empty directories.
fn empty(stage: &OwnedFd) {
    for name in names(stage) {
        let _kind = rustix::fs::unlinkat(stage, &name, AtFlags::empty())
            .or_else(|_| rustix::fs::unlinkat(stage, &name, AtFlags::REMOVEDIR));
    }
}

fn names(directory: &OwnedFd) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let Ok(entries) = Dir::read_from(directory) else {
        return Vec::new();
    };
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_bytes().to_vec());
    names
        .filter(|name| name != b"." && name != b"..")
        .map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(&name)))
        .collect()
}

/// The receiving user, for advice.
fn user() -> String {
    let id = nix::unistd::geteuid();
    nix::unistd::User::from_uid(id).ok().flatten().map_or_else(|| id.to_string(), |user| user.name)
}
