//! Puts into place and takes away where others change the same tree at the same time (two-way).
//!
//! What is there is looked at, and the decision is made by that look. Then what was looked at is
//! swapped out in one act, and compared with the look: if it is something else, somebody was
//! quicker, and it is kept, whatever was decided (I8).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode as RawMode, OFlags};
use rustix::io::Errno;

use super::attributes::version;
use super::confine::Leaf;
use super::contest::{Contender, Verdict, decide};
use super::expect::found;
use super::failure::Failure;
use super::stage::{Stage, Staged};
use crate::clock;
use crate::home::conflicts::{self, Kept};
use crate::model::{Content, Expected, FileKind, Met, Refusal, There, Version};

/// How often a step looks again because the path was changed between the look and the act.
const RACES_MAX: u32 = 16;

/// Where losers are kept, and for whom they made way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Loft<'a> {
    pub(super) home: &'a OwnedFd,
    /// The source that steps come from, for people.
    pub(super) by: &'a str,
}

/// What a look has seen: enough to know it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    there: There,
    inode: (u64, u64),
    mtime: (i64, i64),
}

fn see(directory: impl AsFd, name: &Path) -> Result<Option<Seen>, Failure> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Seen {
            there: version(&stat).map_or(There::Foreign, There::Version),
            inode: (stat.st_dev, stat.st_ino),
            // Not that of the status, which changes with the name.
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
        })),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(Failure::of("examine it", error)),
    }
}

/// Refuses a step, since what is there stays.
pub(super) fn contested(leaf: &Leaf, there: There) -> Failure {
    let refused = found(&leaf.path, there, "it was changed at both ends, and what is there stays");
    Failure { refusal: Refusal::Contested, ..refused }
}

/// Puts what is staged into place, if it may be there; says what it met.
pub(super) fn place(
    staged: &Staged,
    leaf: &Leaf,
    expects: &Expected,
    contender: &Contender,
    loft: Loft<'_>,
) -> Result<Met, Failure> {
    for _ in 0..RACES_MAX {
        let seen = see(&leaf.directory, leaf.name())?;
        let there = seen.map_or(There::Nothing, |seen| seen.there);
        let verdict = decide(&there, expects, contender, || content_of(leaf, &there))?;
        let met = match verdict {
            Verdict::Yield => return Err(contested(leaf, there)),
            _ if expects.admits(&there) => Met::Expected,
            Verdict::Place => Met::Already,
            Verdict::Replace => Met::Other(there),
        };
        if let (Met::Already, There::Version(now)) = (met, there)
            && now.mtime == contender.mtime
        {
            // What it is besides its content may be newer than the step.
            return Ok(met);
        }
        let Some(seen) = seen else {
            match staged.settle(leaf) {
                Ok(()) => return Ok(met),
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(Failure::of("put it into place", error)),
            }
        };
        if there.is_directory() {
            return Err(found(&leaf.path, there, "a directory is in the way"));
        }
        let keep_as = |there: There| match there {
            There::Version(version) => Some(version),
            There::Nothing | There::Foreign => None,
        };
        if verdict == Verdict::Replace {
            // While it is still there: this process may end at any time, and what is in the stage then is lost.
            match keep(&leaf.directory, leaf.name(), leaf, keep_as(there), loft) {
                Ok(()) => {}
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(unkept(error)),
            }
        }
        match staged.swap(leaf) {
            Ok(()) => {}
            Err(Errno::NOENT) => continue,
            Err(error) => return Err(Failure::of("put it into place", error)),
        }
        let out = see(staged.directory(), staged.name())?;
        if out != Some(seen) {
            let version = keep_as(out.map_or(there, |seen| seen.there));
            if let Err(error) = keep(staged.directory(), staged.name(), leaf, version, loft) {
                let _swapped_back = staged.swap(leaf);
                return Err(unkept(error));
            }
        }
        return Ok(met);
    }
    Err(Failure::unexpected("it changes all the time"))
}

/// What became of a file that was to be removed.
#[derive(Debug)]
pub(super) enum Removed {
    /// It was not there.
    Already,
    /// It is out of the tree, and is removed when this is dropped.
    Out(Staged),
}

/// Takes a file or link that is what the step expects out of the tree, and nothing else.
pub(super) fn remove(
    stage: &mut Stage,
    leaf: &Leaf,
    expects: &Expected,
    by: &str,
) -> Result<Removed, Failure> {
    let Some(seen) = see(&leaf.directory, leaf.name())? else { return Ok(Removed::Already) };
    if *expects == Expected::Anything || !expects.admits(&seen.there) {
        return Err(contested(leaf, seen.there));
    }
    let out = match stage.take_out(leaf) {
        Ok(out) => out,
        Err(Failure { refusal: Refusal::NoParent, .. }) => return Ok(Removed::Already),
        Err(failure) => return Err(failure),
    };
    if see(out.directory(), out.name())? == Some(seen) {
        return Ok(Removed::Out(out));
    }
    // Somebody was quicker: back with it, or out of the way if there is another one by now.
    if out.settle(leaf).is_err() {
        keep(out.directory(), out.name(), leaf, None, Loft { home: stage.home(), by }).map_err(unkept)?;
    }
    Err(contested(leaf, seen.there))
}

fn keep(
    directory: &OwnedFd,
    name: &Path,
    leaf: &Leaf,
    version: Option<Version>,
    loft: Loft<'_>,
) -> Result<(), Errno> {
    let at = clock::since_1970().as_secs();
    let kept = Kept { path: leaf.path.as_bytes().to_vec(), version, at, by: loft.by.to_owned() };
    conflicts::keep(loft.home, directory, name, &kept).map(drop)
}

fn unkept(error: Errno) -> Failure {
    Failure::of("keep what is there", error)
}

/// The hash of what is there: of a file's content, or of where a link leads.
fn content_of(leaf: &Leaf, there: &There) -> Result<Option<Content>, Failure> {
    let There::Version(version) = there else { return Ok(None) };
    let failed = |error: Errno| Failure::of("read what is there", error);
    match version.kind {
        FileKind::Directory => Ok(None),
        FileKind::Symlink => {
            let destination =
                rustix::fs::readlinkat(&leaf.directory, leaf.name(), Vec::new()).map_err(failed)?;
            Ok(Some(Content::of(destination.to_bytes())))
        }
        FileKind::File => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file =
                rustix::fs::openat(&leaf.directory, leaf.name(), flags, RawMode::empty()).map_err(failed)?;
            let mut hasher = blake3::Hasher::new();
            hasher
                .update_reader(File::from(file))
                .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            Ok(Some(Content(hasher.finalize().into())))
        }
    }
}
