//! Tells of names that appear, vanish or change.

use sync_ebpf::{Handshake, Settings, flag, kind};

use crate::arguments::{Event, dentry_of, inode_of};
use crate::content;
use crate::excluded;
use crate::kernel::{self, Inode, offset};
use crate::maps::Scratch;
use crate::outside;
use crate::record;
use crate::walk::{self, Place};

/// A name appeared in `event.directory`.
#[inline(always)]
pub(crate) fn created(event: &Event<impl Inode>, root: &Handshake) {
    let last_move = outside::last_move();
    let inode = inode_of(event);
    let links = if event.is_directory() { 0 } else { inode.links() };
    if links > 1 {
        outside::moved();
    } else if outside::is_known(event.directory, true) {
        // What is new there is there.
        return outside::remember(inode, last_move);
    }
    let is_unfinished = links == 1 && inode.is_regular();
    let flags = if is_unfinished { flag::UNFINISHED } else { 0 };
    let Some(before) = content::epochs() else { return };
    match named(kind::CREATED, flags, event, root) {
        // It is looked at, and its first writes need no record of their own.
        Named::Told if is_unfinished => content::told_of_creation(dentry_of(event), inode, before),
        // The second name of a file: whoever looks at the first one learns that it has another,
        // by which it may change.
        Named::Outside if links == 2 => content::has_two_names(inode, root),
        Named::Told | Named::Outside | Named::NotTold => {}
    }
}

/// A name vanished from `event.directory`.
#[inline(always)]
pub(crate) fn removed(event: &Event<impl Inode>, root: &Handshake) {
    if outside::is_known(event.directory, true) {
        return;
    }
    named(kind::REMOVED, 0, event, root);
}

/// What became of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Told,
    Outside,
    /// It is excluded, or the ring was full.
    NotTold,
}

#[inline(always)]
fn named(kind: u8, flags: u8, event: &Event<impl Inode>, root: &Handshake) -> Named {
    let Some(scratch) = record::begin() else { return Named::NotTold };
    let is_told = match path_in(scratch, event, root) {
        Place::Inside if excluded::is_below(scratch) => false,
        Place::Inside => record::tell(scratch, root, kind, flags, record::used(scratch)),
        Place::TooDeep => record::tell_unplaced(scratch, root),
        Place::Unhashed | Place::Outside | Place::UnhashedOutside | Place::Alone => return Named::Outside,
    };
    if is_told { Named::Told } else { Named::NotTold }
}

/// Adds the path of `event.name` in `event.directory`, where it lies inside.
#[inline(always)]
fn path_in(scratch: *mut Scratch, event: &Event<impl Inode>, root: &Handshake) -> Place {
    let last_move = outside::last_move();
    let directory = event.directory.first_dentry();
    if directory == 0 {
        return Place::Outside;
    }
    match walk::place(scratch, directory, root) {
        // A directory that was removed meanwhile; its removal is told, too.
        Place::Inside | Place::Unhashed => {}
        elsewhere => {
            if elsewhere == Place::Outside && walk::reached_top(scratch, root) {
                outside::remember(event.directory, last_move);
            }
            return elsewhere;
        }
    }
    let leaf: u64 = kernel::read(event.name, offset!(name_bytes));
    if walk::name(scratch, leaf) && walk::names(scratch) { Place::Inside } else { Place::TooDeep }
}

/// A rename: `event` has the old directory and name, and what was moved.
#[inline(always)]
pub(crate) fn renamed(event: &Event<impl Inode>, root: &Handshake) {
    outside::moved();
    let moved = if event.data_type == offset!(data_rename) && offset!(data_rename) != Settings::NONE {
        kernel::read(event.data, offset!(rename_moved))
    } else {
        dentry_of(event)
    };
    let Some(scratch) = record::begin() else { return };
    let from = path_in(scratch, event, root);
    let first = record::used(scratch);
    let mut to = walk::place(scratch, moved, root);
    if to == Place::Inside && !walk::names(scratch) {
        to = Place::TooDeep;
    }
    if from == Place::TooDeep || to == Place::TooDeep {
        record::tell_unplaced(scratch, root);
        return;
    }
    let mut flags = if event.is_directory() { flag::DIRECTORY } else { 0 };
    match (from == Place::Inside, to == Place::Inside) {
        (true, true) => {}
        (true, false) => flags |= flag::TO_OUTSIDE,
        (false, true) => flags |= flag::FROM_OUTSIDE,
        (false, false) => return,
    }
    record::tell(scratch, root, kind::RENAMED, flags, first);
}
