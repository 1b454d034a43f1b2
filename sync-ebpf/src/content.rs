//! Tells of files that are written and of attributes that change, of each write once until user
//! space has looked.

use core::ptr::read_volatile;
use sync_ebpf::{Epochs, Handshake, kind};

use crate::excluded;
use crate::kernel::{self, Inode};
use crate::maps::{EPOCHS, Scratch, TOLD, TOLD_MAX, Told, place_of};
use crate::outside;
use crate::record;
use crate::walk::{self, Place};

/// Names of one file that are tried, to find one by which it can be told.
const NAMES_TRIED_MAX: usize = 4;

/// Attributes of a directory have changed.
#[inline(always)]
pub(crate) fn directory(dentry: u64, inode: impl Inode, root: &Handshake) {
    let last_move = outside::last_move();
    let Some(scratch) = record::begin() else { return };
    match walk::place(scratch, dentry, root) {
        Place::Inside => {
            tell(scratch, kind::ATTRIBUTES, root);
        }
        Place::Outside if walk::reached_top(scratch, root) => outside::remember(inode, last_move),
        _ => {}
    }
}

/// The file that `dentry` names was written, closed after it, or got other attributes. Not told
/// where this processor has told of it in this epoch: user space has not looked since.
#[inline(always)]
pub(crate) fn file(kind: u8, dentry: u64, inode: impl Inode, root: &Handshake) {
    let (Some(now), Some(told)) = (epochs(), TOLD.get_ptr_mut(place_of(dentry, TOLD_MAX))) else { return };
    // SAFETY: the map's memory lives as long as the program, and is this processor's own; here
    // and below.
    let before = unsafe { *told };
    let mut known = Epochs { writes: 0, closes: 0 };
    if before.dentry == dentry && is_same(&before, inode) {
        known = before.epochs;
        let (writes_told, closes_told) = (known.writes == now.writes, known.closes == now.closes);
        let is_told = match kind {
            kind::WRITING => writes_told,
            kind::WRITTEN => closes_told,
            _ => writes_told || closes_told,
        };
        // Of several names each has to be told by its own writes, unless all of them are.
        if is_told && (before.by_inode == 1 || inode.links() == 1) {
            return;
        }
        if kind == kind::WRITTEN {
            // Whatever is written from now on is told anew, so that user space may forget the
            // writes before this close. It has to be so before the close is told.
            known.writes = 0;
            unsafe { (*told).epochs.writes = 0 };
        }
    }
    let by_inode = match entry(kind, dentry, inode, root) {
        Entry::Told => 0,
        Entry::ToldByInode => 1,
        Entry::NotTold => return,
    };
    match kind {
        kind::WRITING => known.writes = now.writes,
        kind::WRITTEN => known.closes = now.closes,
        // Told on its own, it says nothing of content.
        _ => return,
    }
    unsafe { *told = Told { by_inode, ..told_of(dentry, inode, known) } };
}

/// Remembers that a new file was told of, which covers its writes in the epoch that was current
/// before.
#[inline(always)]
pub(crate) fn told_of_creation(dentry: u64, inode: impl Inode, before: Epochs) {
    if dentry == 0 {
        return;
    }
    let Some(told) = TOLD.get_ptr_mut(place_of(dentry, TOLD_MAX)) else { return };
    // SAFETY: the map's memory lives as long as the program, and is this processor's own.
    unsafe { *told = told_of(dentry, inode, Epochs { writes: before.writes, closes: 0 }) };
}

#[inline(always)]
fn told_of(dentry: u64, inode: impl Inode, epochs: Epochs) -> Told {
    let generation = u64::from(inode.generation());
    Told { dentry, inode: inode.number(), generation, by_inode: 0, epochs }
}

/// Whether the file that was told of is still the one behind the dentry.
#[inline(always)]
fn is_same(told: &Told, inode: impl Inode) -> bool {
    told.inode == inode.number() && told.generation == u64::from(inode.generation())
}

/// The current epochs. To be read before a record is told: if they move on meanwhile, the next
/// event is told again.
#[inline(always)]
pub(crate) fn epochs() -> Option<Epochs> {
    let epochs = EPOCHS.get_ptr(0)?;
    // SAFETY: the map's memory lives as long as the program; user space writes whole words.
    unsafe {
        Some(Epochs {
            writes: read_volatile(&raw const (*epochs).writes),
            closes: read_volatile(&raw const (*epochs).closes),
        })
    }
}

/// What became of a change to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// User space will look, or need not.
    Told,
    /// The same, by all names that the file has below the root.
    ToldByInode,
    /// It is not ours, or the ring was full.
    NotTold,
}

/// Tells of what `dentry` names.
#[inline(always)]
fn entry(kind: u8, dentry: u64, inode: impl Inode, root: &Handshake) -> Entry {
    let last_move = outside::last_move();
    let Some(scratch) = record::begin() else { return Entry::NotTold };
    let is_told = match walk::place(scratch, dentry, root) {
        Place::Inside => tell(scratch, kind, root),
        Place::Unhashed => tell_by_another_name(scratch, kind, dentry, root),
        // Nobody will ever see what has no name any more.
        Place::UnhashedOutside if inode.links() == 0 => false,
        Place::Outside if inode.links() <= 1 => {
            if walk::reached_top(scratch, root) {
                outside::remember(inode, last_move);
            }
            false
        }
        // Another name of it may be inside.
        Place::Outside | Place::UnhashedOutside => {
            let kind = match kind {
                kind::WRITING => kind::WRITING_OUTSIDE,
                kind::WRITTEN => kind::WRITTEN_OUTSIDE,
                _ => kind::ATTRIBUTES_OUTSIDE,
            };
            let is_told = record::tell_inode(scratch, root, kind, inode.number());
            return if is_told { Entry::ToldByInode } else { Entry::NotTold };
        }
        Place::Alone if kernel::dentry_superblock(dentry) == root.superblock => {
            record::tell_without_path(scratch, root, kind::NAMELESS)
        }
        // The top of another file system.
        Place::Alone => false,
        Place::TooDeep => record::tell_unplaced(scratch, root),
    };
    if is_told { Entry::Told } else { Entry::NotTold }
}

/// A file that was made without a name keeps a dentry that nobody finds, whatever name it is
/// given; and one whose name is gone may have others.
#[inline(always)]
fn tell_by_another_name(scratch: *mut Scratch, kind: u8, dentry: u64, root: &Handshake) -> bool {
    let inode = kernel::dentry_inode(dentry);
    // Without any name nobody else will ever see it.
    if inode.address() == 0 || inode.links() == 0 {
        return false;
    }
    let mut other = inode.first_dentry();
    for _ in 0..NAMES_TRIED_MAX {
        if other == 0 || kernel::dentry(other).is_hashed {
            break;
        }
        other = kernel::next_dentry(other);
    }
    match walk::place(scratch, other, root) {
        Place::Inside => tell(scratch, kind, root),
        // It has a name that the kernel does not remember.
        _ => record::tell_without_path(scratch, root, kind::NAMELESS),
    }
}

/// A file was given a second name, outside of the root: tells of the first, if that is inside. It
/// was used for this just now, so the kernel remembers it.
#[inline(always)]
pub(crate) fn has_two_names(inode: impl Inode, root: &Handshake) {
    let Some(scratch) = record::begin() else { return };
    let first = kernel::next_dentry(inode.first_dentry());
    if first != 0 && walk::place(scratch, first, root) == Place::Inside {
        tell(scratch, kind::ATTRIBUTES, root);
    }
}

/// Tells of the path that the walk has found.
#[inline(always)]
fn tell(scratch: *mut Scratch, kind: u8, root: &Handshake) -> bool {
    if !walk::names(scratch) {
        return record::tell_unplaced(scratch, root);
    }
    if excluded::is_below(scratch) {
        return true;
    }
    record::tell(scratch, root, kind, 0, record::used(scratch))
}
