//! Compares what a step expects with what the target holds, before anything is done.
//!
//! One look at the name decides: it is as the source believes; or it is already what the step is
//! to make, and nothing has to be written; or somebody else has changed it. Then a step that puts
//! something there replaces it and says so, and any other step is refused with what was found,
//! above all a removal (I3). Between the look and the act lie some microseconds in which a name can
//! still change, since the kernel knows no exchange that is conditional on a version.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode as RawMode, OFlags};

use super::attributes::{open_path, there};
use super::confine::Leaf;
use super::failure::Failure;
use crate::model::{Content, Expected, FileKind, Found, Met, There, Time, TreePath, Version};
use crate::wire::INLINE_BYTES_MAX;

/// What a name holds, as a step finds it.
pub(super) fn look(leaf: &Leaf) -> Result<There, Failure> {
    there(&leaf.directory, leaf.name()).map_err(|error| Failure::of("examine it", error))
}

/// What a step that goes on in any case has met.
pub(super) fn met(there: There, expects: &Expected) -> Met {
    if expects.admits(&there) { Met::Expected } else { Met::Other(there) }
}

/// Refuses a step at `path` unless what is `there` is what it expects.
pub(super) fn require(path: &TreePath, there: There, expects: &Expected) -> Result<(), Failure> {
    if expects.admits(&there) {
        return Ok(());
    }
    Err(found(path, there, expects.unlike(&there)))
}

/// The refusal of a step that something keeps from being done.
pub(super) fn found(path: &TreePath, there: There, detail: &str) -> Failure {
    let found = Found { path: path.as_bytes().to_vec(), there };
    Failure { found: Some(found), ..Failure::unexpected(detail) }
}

/// The file at `leaf` if it is just what a step is to put there. Size and time do not prove that:
/// the step may be there because content differs though they do not.
pub(super) fn holds_file(leaf: &Leaf, there: There, wanted: &Wanted) -> Option<OwnedFd> {
    let There::Version(Version { kind: FileKind::File, size, mtime, .. }) = there else { return None };
    // Only what comes in one piece is worth reading: of the rest all content is here by then.
    if (size, mtime) != (wanted.size, wanted.mtime) || size > INLINE_BYTES_MAX as u64 {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&leaf.directory, leaf.name(), flags, RawMode::empty()).ok()?;
    let file = File::from(file);
    if has_other_names(&file) {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    // A file that grows meanwhile ends the reading, and has another hash.
    hasher.update_reader(std::io::Read::take(&file, size + 1)).ok()?;
    (Content(hasher.finalize().into()) == wanted.content).then(|| file.into())
}

/// A step that puts something there makes it one of its own, which the others do not follow.
fn has_other_names(entry: impl AsFd) -> bool {
    rustix::fs::fstat(entry).is_ok_and(|stat| stat.st_nlink > 1)
}

/// What a file is to be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) content: Content,
}

/// The symbolic link at `leaf` if it leads to `destination` already.
pub(super) fn holds_symlink(leaf: &Leaf, there: There, destination: &Path) -> Option<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    if !matches!(there, There::Version(Version { kind: FileKind::Symlink, .. })) {
        return None;
    }
    let link = open_path(&leaf.directory, leaf.name()).ok().filter(|link| !has_other_names(link))?;
    // Of the very link that was opened, and never one that took its name since.
    let leads = rustix::fs::readlinkat(&link, "", Vec::new()).ok()?;
    (leads.to_bytes() == destination.as_os_str().as_bytes()).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::super::confine::leaf;
    use super::*;
    use crate::model::{Mode, Owner, XattrHash};

    #[test]
    fn a_file_that_only_looks_the_same_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("f"), "one").unwrap();
        std::os::unix::fs::symlink("f", directory.path().join("l")).unwrap();
        let root = File::open(directory.path()).unwrap();
        let at = |name: &str| leaf(&root, TreePath::new(name.as_bytes()).unwrap()).unwrap();
        let there = look(&at("f")).unwrap();
        let There::Version(Version { size, mtime, .. }) = there else { panic!("{there:?}") };
        let wanted = |content: &[u8]| Wanted { size, mtime, content: Content::of(content) };
        assert!(holds_file(&at("f"), there, &wanted(b"one")).is_some());
        assert!(holds_file(&at("f"), there, &wanted(b"two")).is_none());
        let earlier = Wanted { mtime: Time::UNKNOWN, ..wanted(b"one") };
        assert!(holds_file(&at("f"), there, &earlier).is_none());
        assert!(holds_file(&at("l"), look(&at("l")).unwrap(), &wanted(b"one")).is_none());
        let link = look(&at("l")).unwrap();
        assert!(holds_symlink(&at("l"), link, Path::new("f")).is_some());
        assert!(holds_symlink(&at("l"), link, Path::new("g")).is_none());
        assert!(holds_symlink(&at("f"), there, Path::new("f")).is_none());
        std::fs::hard_link(directory.path().join("f"), directory.path().join("g")).unwrap();
        assert!(holds_file(&at("f"), there, &wanted(b"one")).is_none(), "it is to be one of its own");
    }

    #[test]
    fn a_refusal_says_what_is_there() {
        let path = TreePath::new(b"a/b").unwrap();
        let version = Version {
            kind: FileKind::File,
            size: 1,
            mtime: Time { seconds: 1, nanoseconds: 0 },
            mode: Mode(0o644),
            owner: Owner::NOBODY,
            xattrs: XattrHash::NONE,
        };
        let there = There::Version(version);
        let other = Expected::This(Version { size: 2, ..version });
        let failure = require(&path, there, &other).unwrap_err();
        assert_eq!(failure.found, Some(Found { path: b"a/b".to_vec(), there }));
        assert_eq!(met(there, &other), Met::Other(there));
        assert_eq!(
            (require(&path, there, &Expected::This(version)), met(there, &Expected::Anything)),
            (Ok(()), Met::Expected)
        );
    }
}
