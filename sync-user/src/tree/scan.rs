//! Lists a part of the tree, with several threads where it is large.
//!
//! A directory that cannot be opened or read is told as such, and never as empty (I3).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::fchdir;
use rustix::fs::{AtFlags, Dir, OFlags};
use rustix::io::Errno;

use super::{Tree, entry};
use crate::metadata::XattrPlace;
use crate::model::{Entry, FileKind, TreePath};

/// Directories that one thread handles alone before it calls for company: below that, starting
/// threads takes longer than the scan.
const ALONE_MAX: usize = 32;

/// Threads of a large scan. More than the cores, because a cold directory waits for the disk.
const THREADS: usize = 4;

/// Why nothing is known of a place that is otherwise fine.
const MOUNTED: &str = "something is mounted here";

/// A part of the tree as it was when each directory was read.
#[derive(Debug, Default)]
pub struct Scan {
    /// What was found, by path; the root of the tree itself is never in it.
    pub entries: BTreeMap<TreePath, Entry>,
    pub unreadable: Vec<Unreadable>,
    /// Fifos, sockets and devices, which are not replicated.
    pub special: Vec<TreePath>,
}

/// A place of which nothing is known: what it holds may exist or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub place: TreePath,
    pub cause: String,
}

/// What one thread found.
#[derive(Debug, Default)]
struct Found {
    entries: Vec<(TreePath, Entry)>,
    unreadable: Vec<Unreadable>,
    special: Vec<TreePath>,
}

impl Found {
    fn unreadable(&mut self, place: TreePath, cause: &dyn ToString) {
        self.unreadable.push(Unreadable { place, cause: cause.to_string() });
    }
}

pub(super) fn scan(tree: &Tree, place: &TreePath) -> Scan {
    let mut found = Found::default();
    let mut waiting = Vec::new();
    match tree.look(place) {
        super::Seen::Present(entry) => {
            if entry.version.kind == FileKind::Directory {
                waiting.push(place.clone());
            }
            if !place.is_root() {
                found.entries.push((place.clone(), entry));
            }
        }
        super::Seen::Absent => {}
        super::Seen::Special => found.special.push(place.clone()),
        super::Seen::Ignored => found.unreadable(place.clone(), &"it is left out, or on another file system"),
        super::Seen::Unreadable(cause) => found.unreadable(place.clone(), &cause),
    }
    let mut alone = 0;
    while alone < ALONE_MAX
        && let Some(directory) = waiting.pop()
    {
        read(tree, &directory, false, &mut found, &mut waiting);
        alone += 1;
    }
    let mut all = vec![found];
    if !waiting.is_empty() {
        let work = Work { state: Mutex::new(State { waiting, busy: 0 }), changed: Condvar::new() };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(|| work.run(tree))).collect();
            all.extend(
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
            );
        });
    }
    let (mut scan, mut found) = (Scan::default(), Vec::new());
    for Found { entries, unreadable, special } in all {
        found.extend(entries);
        scan.unreadable.extend(unreadable);
        scan.special.extend(special);
    }
    // Sorted once, and not by as many searches.
    scan.entries = found.into_iter().collect();
    scan
}

/// Directories that wait to be read, shared by the threads of one scan.
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    waiting: Vec<TreePath>,
    /// Threads that are reading, and may yet find directories.
    busy: usize,
}

impl Work {
    fn run(&self, tree: &Tree) -> Found {
        let mut found = Found::default();
        let mut deeper = Vec::new();
        // Where that may not be, extended attributes are looked up by way of `/proc`, which takes twice as long.
        let roams = tree.preserve.any_xattr() && unshare(CloneFlags::CLONE_FS).is_ok();
        while let Some(directory) = self.next() {
            read(tree, &directory, roams, &mut found, &mut deeper);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.append(&mut deeper);
            state.busy -= 1;
            drop(state);
            self.changed.notify_all();
        }
        found
    }

    /// The next directory; `None` once nothing waits and nobody can add to it.
    fn next(&self) -> Option<TreePath> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(directory) = state.waiting.pop() {
                state.busy += 1;
                return Some(directory);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Reads one directory, and adds those in it to `deeper`. A thread that `roams` has a working directory of its
/// own, and goes there.
fn read(tree: &Tree, directory: &TreePath, roams: bool, found: &mut Found, deeper: &mut Vec<TreePath>) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = match tree.open_beneath(directory, flags) {
        Ok(descriptor) => descriptor,
        // It was removed or replaced since its parent was read: a change will tell.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return,
        Err(Errno::XDEV) => return found.unreadable(directory.clone(), &MOUNTED),
        Err(error) => return found.unreadable(directory.clone(), &error),
    };
    let names = match Dir::read_from(&descriptor) {
        Ok(names) => names,
        Err(error) => return found.unreadable(directory.clone(), &error),
    };
    let is_here = roams && fchdir(&descriptor).is_ok();
    for name in names {
        let name = match name {
            Ok(name) => name,
            Err(error) => return found.unreadable(directory.clone(), &error),
        };
        let name = name.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match directory.join(name) {
            Ok(path) => add(tree, (&descriptor, is_here), path, found, deeper),
            Err(error) => found.unreadable(directory.clone(), &error),
        }
    }
}

/// Adds what `path` is in its parent, in which this thread is or not.
fn add(
    tree: &Tree,
    (parent, is_here): (&OwnedFd, bool),
    path: TreePath,
    found: &mut Found,
    deeper: &mut Vec<TreePath>,
) {
    use std::os::unix::ffi::OsStrExt;
    let name = Path::new(std::ffi::OsStr::from_bytes(path.name()));
    let stat = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        // Gone since the directory was read.
        Err(Errno::NOENT) => return,
        Err(error) => return found.unreadable(path, &error),
    };
    if !tree.identity.same_device(&stat) {
        return found.unreadable(path, &MOUNTED);
    }
    let xattrs = if is_here { XattrPlace::here(name) } else { XattrPlace::at(parent, name) };
    let entry = match entry::entry(parent, name, &stat, &xattrs, tree.preserve) {
        Ok(Some(entry)) => entry,
        Ok(None) if tree.excludes_as(&path, false) => return,
        Ok(None) => return found.special.push(path),
        // Gone, or replaced between two calls.
        Err(Errno::NOENT | Errno::AGAIN) => return,
        Err(error) => return found.unreadable(path, &error),
    };
    let directory = entry.version.kind == FileKind::Directory;
    if tree.excludes.excluded(&path, directory) {
        return;
    }
    if directory {
        deeper.push(path.clone());
    }
    found.entries.push((path, entry));
}
