//! Removes files and directories: for good, or into the trash, if the source wants that.
//!
//! What goes into the trash is taken out of the tree first, and then looked at once more: it may have
//! been changed since the look that decided about it, and then it goes back.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode as RawMode, OFlags};
use rustix::io::Errno;

use super::Root;
use super::apply::Done;
use super::attributes::there;
use super::confine::Leaf;
use super::expect::{self, look};
use super::failure::Failure;
use super::place::{self, Removed};
use super::stage::Staged;
use crate::clock;
use crate::model::{Expected, Met, Refusal, There};

impl Root {
    /// Removes some of what has been in the trash for long enough.
    pub fn purge(&mut self) {
        if let Some(trash) = &mut self.trash {
            // What cannot be removed now is older the next time.
            let _later = trash.purge(self.stage.home(), clock::since_1970());
        }
    }

    pub(super) fn remove_file(&mut self, path: &[u8], expects: Expected) -> Result<Done, Failure> {
        let leaf = match self.leaf(path) {
            Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(Done::all(Met::Already)),
            leaf => leaf?,
        };
        if let Some(two_way) = &self.two_way {
            return match place::remove(&mut self.stage, &leaf, &expects, two_way.name())? {
                Removed::Already => Ok(Done::all(Met::Already)),
                Removed::Out(out) => self.discard(&out, &leaf).map(|()| Done::all(Met::Expected)),
            };
        }
        let there = look(&leaf)?;
        if there == There::Nothing {
            return Ok(Done::all(Met::Already));
        }
        expect::require(&leaf.path, there, &expects)?;
        if there.is_directory() {
            return Err(expect::found(&leaf.path, there, "it is a directory"));
        }
        if self.trash.is_some() {
            return self.take_file(&leaf, &expects);
        }
        match rustix::fs::unlinkat(&leaf.directory, leaf.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(Done::all(Met::Expected)),
            Err(Errno::ISDIR) => Err(expect::found(&leaf.path, look(&leaf)?, "it is a directory")),
            Err(error) => Err(Failure::of("remove it", error)),
        }
    }

    fn take_file(&mut self, leaf: &Leaf, expects: &Expected) -> Result<Done, Failure> {
        let out = match self.stage.take_out(leaf) {
            Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(Done::all(Met::Already)),
            out => out?,
        };
        let now = there(out.directory(), out.name()).map_err(|error| Failure::of("examine it", error))?;
        if now.is_directory() || expect::require(&leaf.path, now, expects).is_err() {
            self.give_back(&out, leaf)?;
            return Err(expect::found(&leaf.path, now, "it was changed meanwhile"));
        }
        self.discard(&out, leaf).map(|()| Done::all(Met::Expected))
    }

    pub(super) fn remove_directory(&mut self, path: &[u8]) -> Result<Done, Failure> {
        let leaf = match self.leaf(path) {
            Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(Done::all(Met::Already)),
            leaf => leaf?,
        };
        if self.trash.is_some() && is_empty(&leaf.directory, leaf.name()) == Ok(true) {
            match self.stage.take_out(&leaf) {
                Ok(out) if is_empty(out.directory(), out.name()) == Ok(true) => {
                    return self.discard(&out, &leaf).map(|()| Done::all(Met::Expected));
                }
                Ok(out) => self.give_back(&out, &leaf)?,
                // Whoever may not write into it cannot move it, and can remove it.
                Err(_) => {}
            }
        }
        match rustix::fs::unlinkat(&leaf.directory, leaf.name(), AtFlags::REMOVEDIR) {
            Ok(()) => Ok(Done::all(Met::Expected)),
            Err(Errno::NOENT) => Ok(Done::all(Met::Already)),
            Err(Errno::NOTDIR) => Err(expect::found(&leaf.path, look(&leaf)?, "it is not a directory")),
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                Err(Failure::new(Refusal::NotEmpty, "the directory is not empty"))
            }
            Err(error) => Err(Failure::of("remove it", error)),
        }
    }

    /// Has the trash keep what was taken out of the tree; without a trash it is removed when it is
    /// dropped, and so is what lies on a file system of its own.
    fn discard(&mut self, out: &Staged, leaf: &Leaf) -> Result<(), Failure> {
        match self.keep(out, leaf) {
            Ok(()) | Err(Errno::XDEV) => Ok(()),
            Err(error) => {
                self.give_back(out, leaf)?;
                Err(Failure::of("move it to the trash", error))
            }
        }
    }

    /// Puts back what was taken out. If something else is there by now, the trash keeps it.
    fn give_back(&mut self, out: &Staged, leaf: &Leaf) -> Result<(), Failure> {
        match out.settle(leaf) {
            Ok(()) => Ok(()),
            Err(_) => self.keep(out, leaf).map_err(|error| Failure::of("put it back", error)),
        }
    }

    fn keep(&mut self, out: &Staged, leaf: &Leaf) -> Result<(), Errno> {
        let Some(trash) = &mut self.trash else { return Ok(()) };
        let now = clock::since_1970();
        trash.take(self.stage.home(), out.directory(), out.name(), leaf.path.as_bytes(), now)
    }
}

/// Whether a directory has no entries.
fn is_empty(directory: &OwnedFd, name: &Path) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(directory, name, flags, RawMode::empty())?;
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
