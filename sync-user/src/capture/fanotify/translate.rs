//! Turns one fanotify event into the changes that it hints at.
//!
//! An event may stand for several that were merged, in no known order, so each of its bits
//! becomes a change. A file that is not at the name it was changed under (a hard link, a name
//! given after the writing) is found by its inode's handle.

use std::os::unix::ffi::OsStrExt;

use super::handles::{Handles, Place, Several, Unresolved};
use super::records::{Entry, Event};
use crate::aliases::{Aliases, Found};
use crate::model::{Captured, Change, Gap, Kind, Origin, Reason, Stamp, TreePath};

/// Delivers what `event`, made by `origin`, says; an error means that something changed at an unknown place.
pub(super) fn translate(
    event: &Event<'_>,
    handles: &mut Handles,
    aliases: &Aliases,
    origin: Origin,
    read: Stamp,
    deliver: &mut dyn FnMut(Captured),
) -> Result<(), Unresolved> {
    if event.mask & libc::FAN_Q_OVERFLOW != 0 {
        // What was lost may have been a renaming, or a new name.
        handles.forget();
        let gap = Gap { place: TreePath::root(), reason: Reason::KernelQueueFull, lost: 0, seen: read };
        deliver(Captured::Gap(gap));
        return Ok(());
    }
    let mut change = |kind, path| deliver(Captured::Change(Change { kind, path, origin, seen: read, read }));
    if event.mask & !libc::FAN_ONDIR == libc::FAN_DELETE_SELF {
        // Only for who searches: what names it had is told by events of their own.
        return Ok(());
    }
    let renamed = libc::FAN_RENAME | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;
    if event.mask & libc::FAN_ONDIR != 0 && event.mask & renamed != 0 {
        // What comes after it may have happened below the new name.
        handles.forget();
    } else if event.mask & (renamed | libc::FAN_CREATE) != 0 {
        handles.forget_files();
    }
    if event.mask & libc::FAN_RENAME != 0 {
        return rename(event, handles, &mut change);
    }
    match event.entry {
        Some(entry) => named(event, entry, handles, aliases, &mut change),
        None => nameless(event, handles, aliases, &mut change),
    }
}

fn rename(
    event: &Event<'_>,
    handles: &mut Handles,
    change: &mut impl FnMut(Kind, TreePath),
) -> Result<(), Unresolved> {
    let (Some(old), Some(new)) = (event.old, event.new) else {
        return Err(Unresolved);
    };
    let directory = event.mask & libc::FAN_ONDIR != 0;
    match (path_of(old, handles)?, path_of(new, handles)?) {
        (Some(from), Some(to)) => change(Kind::Moved { from, directory }, to),
        (None, Some(to)) => change(Kind::MovedIn, to),
        (Some(from), None) => change(Kind::Removed, from),
        (None, None) => {}
    }
    Ok(())
}

fn named(
    event: &Event<'_>,
    entry: Entry<'_>,
    handles: &mut Handles,
    aliases: &Aliases,
    change: &mut impl FnMut(Kind, TreePath),
) -> Result<(), Unresolved> {
    let has = |bits: u64| event.mask & bits != 0;
    let file = event.inode.filter(|_| {
        has(libc::FAN_CLOSE_WRITE | libc::FAN_MODIFY | libc::FAN_ATTRIB) && !has(libc::FAN_ONDIR)
    });
    let path = path_of(entry, handles)?;
    let Some(path) = path else {
        let Some(inode) = file else { return Ok(()) };
        return match look_there(handles.beside(inode)?, change) {
            Place::Outside { of_several: Some(several) } => {
                by_other_names(several, &content_of(event.mask), aliases, change).map(drop)
            }
            _ => Ok(()),
        };
    };
    if has(libc::FAN_DELETE | libc::FAN_MOVED_FROM) {
        change(Kind::Removed, path.clone());
    }
    if has(libc::FAN_MOVED_TO) {
        change(Kind::MovedIn, path.clone());
    }
    if has(libc::FAN_CREATE) && !has(libc::FAN_CLOSE_WRITE) {
        change(created(&path, handles), path.clone());
    }
    if has(libc::FAN_CLOSE_WRITE | libc::FAN_MODIFY) {
        change(content_of(event.mask), path.clone());
    }
    if has(libc::FAN_ATTRIB) {
        change(Kind::Attributes, path.clone());
    }
    let Some(inode) = file else { return Ok(()) };
    // To look up a name that is gone takes the lock of its directory, which the writers need.
    let was_removed = has(libc::FAN_DELETE);
    if !was_removed && handles.is_at(inode, &path) {
        return Ok(());
    }
    match look_there(handles.inode(inode)?, change) {
        // It has a name, and that is not known: it may be inside.
        Place::Outside { .. } => Err(Unresolved),
        Place::Inside(_) | Place::Gone => Ok(()),
    }
}

/// What happened to a file besides its names. When several things did, the one that has most
/// looked at.
fn content_of(mask: u64) -> Kind {
    if mask & libc::FAN_CLOSE_WRITE != 0 {
        Kind::Written
    } else if mask & libc::FAN_MODIFY != 0 {
        Kind::Writing
    } else {
        Kind::Attributes
    }
}

/// A file was changed by a name outside of the root: has it looked at by those that it has inside;
/// says whether any is known.
fn by_other_names(
    several: Several,
    kind: &Kind,
    aliases: &Aliases,
    change: &mut impl FnMut(Kind, TreePath),
) -> Result<bool, Unresolved> {
    match aliases.of(several.inode) {
        Found::Names(names) => {
            let is_known = !names.is_empty();
            for name in names {
                change(kind.clone(), name);
            }
            Ok(is_known)
        }
        Found::Anywhere => Err(Unresolved),
    }
}

/// Events without a name: the file was opened by handle (by an NFS server, say), or lost one of
/// its names, in which case its content is as it was.
fn nameless(
    event: &Event<'_>,
    handles: &Handles,
    aliases: &Aliases,
    change: &mut impl FnMut(Kind, TreePath),
) -> Result<(), Unresolved> {
    let content = event.mask & (libc::FAN_CLOSE_WRITE | libc::FAN_MODIFY) != 0;
    match event.inode {
        Some(inode) if content => match look_there(handles.inode(inode)?, change) {
            Place::Outside { .. } => Err(Unresolved),
            Place::Inside(_) | Place::Gone => Ok(()),
        },
        Some(inode) => match handles.inode(inode)? {
            Place::Inside(path) => {
                change(Kind::Attributes, path);
                Ok(())
            }
            // It was given its second name, so nobody has noted the first.
            Place::Outside { of_several: Some(several) } if several.names == 2 => {
                let is_known = by_other_names(several, &Kind::Attributes, aliases, change)?;
                if is_known || !aliases.may_hold(several.inode) { Ok(()) } else { Err(Unresolved) }
            }
            Place::Outside { .. } | Place::Gone => Ok(()),
        },
        None if event.incomplete => Err(Unresolved),
        None => Ok(()),
    }
}

/// Has a file looked at where it is, if that is inside.
fn look_there(place: Place, change: &mut impl FnMut(Kind, TreePath)) -> Place {
    if let Place::Inside(path) = &place {
        change(Kind::Written, path.clone());
    }
    place
}

/// Whether what appeared is complete: only a regular file may still be written by its creator.
fn created(path: &TreePath, handles: &Handles) -> Kind {
    match handles.stat(path) {
        Some(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_nlink == 1 => Kind::Created,
        _ => Kind::Named,
    }
}

/// The path of an entry; `None` when it is outside of the root, or its directory is gone.
fn path_of(entry: Entry<'_>, handles: &mut Handles) -> Result<Option<TreePath>, Unresolved> {
    match handles.directory(entry.directory)? {
        Place::Inside(directory) if entry.name == "." => Ok(Some(directory)),
        Place::Inside(directory) => {
            directory.join(entry.name.as_bytes()).map(Some).map_err(|_not_a_path| Unresolved)
        }
        Place::Outside { .. } | Place::Gone => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;

    use super::super::records::Handle;
    use super::*;

    /// Where a directory was made, of which the event tells only by its parent's handle.
    fn made_in(parent: Handle<'_>, handles: &mut Handles) -> Vec<TreePath> {
        let entry = Some(Entry { directory: parent, name: OsStr::new("sub") });
        let mask = libc::FAN_CREATE | libc::FAN_ONDIR;
        told(&Event { mask, entry, ..Event::default() }, handles)
    }

    fn told(event: &Event<'_>, handles: &mut Handles) -> Vec<TreePath> {
        let mut paths = Vec::new();
        let mut deliver = |captured| match captured {
            Captured::Change(change) => paths.push(change.path),
            Captured::Gap(gap) => paths.push(gap.place),
        };
        let aliases = Aliases::default();
        translate(event, handles, &aliases, Origin::default(), Stamp(1), &mut deliver).unwrap();
        paths
    }

    #[test]
    fn what_happens_in_a_directory_is_told_by_the_name_that_it_was_given() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("old")).unwrap();
        let mut handles = Handles::open(base.path()).unwrap();
        let [root, directory] = [c".", c"old"].map(|name| handles.of(name));
        assert_eq!(made_in(directory.borrowed(), &mut handles), [TreePath::new(b"old/sub").unwrap()]);
        fs::rename(base.path().join("old"), base.path().join("new")).unwrap();
        let [old, new] =
            ["old", "new"].map(|name| Some(Entry { directory: root.borrowed(), name: OsStr::new(name) }));
        let mask = libc::FAN_RENAME | libc::FAN_ONDIR;
        let renamed = Event { mask, old, new, ..Event::default() };
        assert_eq!(told(&renamed, &mut handles), [TreePath::new(b"new").unwrap()]);
        assert_eq!(made_in(directory.borrowed(), &mut handles), [TreePath::new(b"new/sub").unwrap()]);
    }

    #[test]
    fn a_file_that_was_outside_is_told_of_once_it_has_come_in() {
        let base = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| base.path().join(name));
        fs::create_dir(&inside).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "").unwrap();
        let mut handles = Handles::open(&inside).unwrap();
        let others = Handles::open(&outside).unwrap();
        let [root, other, file] = [handles.of(c"."), others.of(c"."), others.of(c"f")];
        let [was, is] = [&other, &root]
            .map(|directory| Some(Entry { directory: directory.borrowed(), name: OsStr::new("f") }));
        let inode = Some(file.borrowed());
        let written = Event { mask: libc::FAN_MODIFY, entry: was, inode, ..Event::default() };
        assert_eq!(told(&written, &mut handles), []);
        fs::rename(outside.join("f"), inside.join("f")).unwrap();
        let renamed = Event { mask: libc::FAN_RENAME, old: was, new: is, inode, ..Event::default() };
        assert_eq!(told(&renamed, &mut handles), [TreePath::new(b"f").unwrap()]);
        // By a descriptor, which goes by the name at which it was opened.
        assert_eq!(told(&written, &mut handles), [TreePath::new(b"f").unwrap()]);
    }

    #[test]
    fn what_was_lost_may_have_been_a_renaming() {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("old")).unwrap();
        let mut handles = Handles::open(base.path()).unwrap();
        let directory = handles.of(c"old");
        assert_eq!(made_in(directory.borrowed(), &mut handles), [TreePath::new(b"old/sub").unwrap()]);
        fs::rename(base.path().join("old"), base.path().join("new")).unwrap();
        let overflow = Event { mask: libc::FAN_Q_OVERFLOW, ..Event::default() };
        assert_eq!(told(&overflow, &mut handles), [TreePath::root()]);
        assert_eq!(made_in(directory.borrowed(), &mut handles), [TreePath::new(b"new/sub").unwrap()]);
    }
}
