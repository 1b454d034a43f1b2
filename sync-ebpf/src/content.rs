//! Tells of files that are written and of attributes that change, of each write once until user
//! space has looked.

use core::ptr::read_volatile;
use sync_ebpf::{Epochs, Handshake, kind};

use crate::excluded;
use crate::kernel;
use crate::maps::{EPOCHS, TOLD, TOLD_MAX, Told};
use crate::record;
use crate::walk::{self, Place};

/// Names of one file that are tried, to find one by which it can be told.
const NAMES_TRIED_MAX: usize = 4;

/// Attributes of what `dentry` names have changed.
#[inline(always)]
pub(crate) fn attributes(dentry: u64, root: &Handshake) {
    if kernel::dentry_superblock(dentry) == root.superblock {
        let dentry = with_a_name(dentry);
        if dentry != 0 {
            entry(kind::ATTRIBUTES, dentry, root);
        }
    }
}

/// The file that `dentry` names was written, or closed after it. Not told where the same was
/// told by this processor in this epoch: user space has not looked since.
#[inline(always)]
pub(crate) fn written(kind: u8, dentry: u64, root: &Handshake) {
    if kernel::dentry_superblock(dentry) != root.superblock {
        return;
    }
    let dentry = with_a_name(dentry);
    if dentry == 0 {
        return;
    }
    // Before the record: if the epoch moves on meanwhile, the next event is told again.
    let (Some(now), Some(told)) = (epochs(), TOLD.get_ptr_mut(place_of(dentry))) else { return };
    let inode = kernel::dentry_inode(dentry);
    let file = file(dentry, inode);
    // SAFETY: the map's memory lives as long as the program, and is this processor's own; here
    // and below.
    let before = unsafe { *told };
    let is_same =
        before.dentry == dentry && before.inode == file.inode && before.generation == file.generation;
    let mut epochs = if is_same { before.epochs } else { file.epochs };
    let (last, current) = match kind {
        kind::WRITING => (epochs.writes, now.writes),
        _ => (epochs.closes, now.closes),
    };
    // Of several names each has to be told by its own writes.
    if last == current && kernel::inode_links(inode) == 1 {
        return;
    }
    if kind == kind::WRITTEN && is_same {
        // Whatever is written from now on is told anew, so that user space may forget the writes
        // before this close. It has to be so before the close is told.
        epochs.writes = 0;
        unsafe { (*told).epochs.writes = 0 };
    }
    if entry(kind, dentry, root) {
        match kind {
            kind::WRITING => epochs.writes = now.writes,
            _ => epochs.closes = now.closes,
        }
        unsafe { *told = Told { epochs, ..file } };
    }
}

/// Remembers that a new file was told of, which covers its writes in this epoch.
#[inline(always)]
pub(crate) fn told_of_creation(dentry: u64, inode: u64) {
    if dentry == 0 {
        return;
    }
    let (Some(now), Some(told)) = (epochs(), TOLD.get_ptr_mut(place_of(dentry))) else { return };
    let epochs = Epochs { writes: now.writes, closes: 0 };
    // SAFETY: the map's memory lives as long as the program, and is this processor's own.
    unsafe { *told = Told { epochs, ..file(dentry, inode) } };
}

/// A file of which nothing was told.
#[inline(always)]
fn file(dentry: u64, inode: u64) -> Told {
    Told {
        dentry,
        inode: kernel::inode_number(inode),
        generation: u64::from(kernel::inode_generation(inode)),
        epochs: Epochs { writes: 0, closes: 0 },
    }
}

#[inline(always)]
fn epochs() -> Option<Epochs> {
    let epochs = EPOCHS.get_ptr(0)?;
    // SAFETY: the map's memory lives as long as the program; user space writes whole words.
    unsafe {
        Some(Epochs {
            writes: read_volatile(&raw const (*epochs).writes),
            closes: read_volatile(&raw const (*epochs).closes),
        })
    }
}

/// Where a dentry stands in [`TOLD`]: by Fibonacci hashing, whose high bits are the good ones.
#[inline(always)]
fn place_of(dentry: u64) -> u32 {
    (dentry.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TOLD_MAX.ilog2())) as u32
}

/// The dentry itself, or if no path leads to it any more, another of the same file: a file that
/// was made without a name keeps a dentry that nobody finds, whatever name it is given. 0 when the
/// file has no name left: nobody else will ever see it.
#[inline(always)]
fn with_a_name(dentry: u64) -> u64 {
    if kernel::dentry_is_hashed(dentry) {
        return dentry;
    }
    let inode = kernel::dentry_inode(dentry);
    if inode == 0 || kernel::inode_links(inode) == 0 {
        return 0;
    }
    let mut other = kernel::first_dentry(inode);
    for _ in 0..NAMES_TRIED_MAX {
        if other == 0 || kernel::dentry_is_hashed(other) {
            break;
        }
        other = kernel::next_dentry(other);
    }
    // Told under the name that is gone, it leads user space to the names that it knows.
    if other == 0 { dentry } else { other }
}

/// Tells of what `dentry` names; whether user space will look, or need not.
#[inline(always)]
fn entry(kind: u8, dentry: u64, root: &Handshake) -> bool {
    let Some(scratch) = record::begin() else { return false };
    match walk::place(scratch, dentry, root.dentry) {
        Place::Outside => false,
        Place::Alone if kernel::is_regular(kernel::dentry_inode(dentry)) => {
            record::tell_without_path(scratch, root, kind::NAMELESS)
        }
        // The top of the file system, seen from a root below it.
        Place::Alone => false,
        Place::Inside if !walk::names(scratch) => record::tell_unplaced(scratch, root),
        Place::Inside if excluded::is_below(scratch) => true,
        Place::Inside => record::tell(scratch, root, kind, 0, record::used(scratch)),
        Place::TooDeep => record::tell_unplaced(scratch, root),
    }
}
