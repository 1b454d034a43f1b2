//! Takes the arguments of the kernel's notification functions apart.
//!
//! They are called after an operation has succeeded, names under their directory's lock. The
//! bits of `mask` are those of inotify, and part of the kernel's interface.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::kprobe;
use aya_ebpf::programs::ProbeContext;
use sync_ebpf::{Epochs, Handshake, Head, Settings, flag, kind};

use crate::emit::emit;
use crate::kernel::{self, offset};
use crate::maps::{EPOCHS, ROOT, SCRATCH, Scratch, WRITES, WriteKey};
use crate::walk::{self, Place};

const MODIFY: u32 = 0x2;
const ATTRIB: u32 = 0x4;
const CLOSE_WRITE: u32 = 0x8;
const OPEN: u32 = 0x20;
const CREATE: u32 = 0x100;
const DELETE: u32 = 0x200;
const RENAME: u32 = 0x1000_0000;
const IS_DIRECTORY: u32 = 0x4000_0000;

/// `S_IFMT` and what of it is told.
const TYPE_BITS: u16 = 0o170_000;
const TYPE_REGULAR: u16 = 0o100_000;
const TYPE_DIRECTORY: u16 = 0o040_000;

/// `fsnotify(mask, data, data_type, dir, file_name, inode, cookie)`: names that appear, vanish
/// or change, and directories themselves.
#[kprobe]
pub(crate) fn fsnotify(ctx: ProbeContext) -> u32 {
    let (Some(mask), Some(data), Some(data_type), Some(directory), Some(name), Some(inode)) = (
        ctx.arg::<u32>(0),
        ctx.arg::<u64>(1),
        ctx.arg::<u32>(2),
        ctx.arg::<u64>(3),
        ctx.arg::<u64>(4),
        ctx.arg::<u64>(5),
    ) else {
        return 0;
    };
    let Some(root) = ROOT.get_ptr_mut(0) else { return 0 };
    if mask & OPEN != 0 {
        learn(&ctx, root, mask, data, data_type);
        return 0;
    }
    if mask & (CREATE | DELETE | RENAME | ATTRIB) == 0 {
        return 0;
    }
    // SAFETY: the map's memory lives as long as the program.
    let (root, superblock) = unsafe { ((*root).dentry, (*root).superblock) };
    if root == 0 {
        return 0;
    }
    if directory == 0 {
        // A directory itself, told without a name.
        let dentry = dentry_of(data, data_type);
        if mask & ATTRIB != 0 && mask & IS_DIRECTORY != 0 && dentry != 0 {
            entry(kind::ATTRIBUTES, dentry, root, superblock);
        }
        return 0;
    }
    if kernel::inode_superblock(directory) != superblock {
        return 0;
    }
    if mask & RENAME != 0 {
        renamed(directory, name, data, data_type, root);
    } else if mask & (CREATE | DELETE) != 0 {
        let inode = if inode != 0 { inode } else { inode_of(data, data_type) };
        let kind = if mask & CREATE != 0 { kind::CREATED } else { kind::REMOVED };
        named(kind, directory, name, inode, root);
    }
    0
}

/// `__fsnotify_parent(dentry, mask, data, data_type)`: what happens to files that have a name.
#[kprobe]
pub(crate) fn fsnotify_parent(ctx: ProbeContext) -> u32 {
    let (Some(dentry), Some(mask)) = (ctx.arg::<u64>(0), ctx.arg::<u32>(1)) else { return 0 };
    if mask & (MODIFY | ATTRIB | CLOSE_WRITE) == 0 {
        return 0;
    }
    let Some((root, superblock)) = root() else { return 0 };
    if mask & CLOSE_WRITE != 0 {
        content(kind::WRITTEN, dentry, root, superblock);
    } else if mask & MODIFY != 0 {
        content(kind::WRITING, dentry, root, superblock);
    } else {
        entry(kind::ATTRIBUTES, dentry, root, superblock);
    }
    0
}

/// `file_update_time(file)`: the first store through a memory map to each clean page.
#[kprobe]
pub(crate) fn file_update_time(ctx: ProbeContext) -> u32 {
    let (Some(file), Some((root, superblock))) = (ctx.arg::<u64>(0), root()) else { return 0 };
    let dentry: u64 = kernel::read(file, offset!(file_dentry));
    if dentry != 0 {
        content(kind::WRITING, dentry, root, superblock);
    }
    0
}

/// The root's dentry and superblock, once they are known.
#[inline(always)]
fn root() -> Option<(u64, u64)> {
    let root = ROOT.get(0)?;
    if root.dentry == 0 { None } else { Some((root.dentry, root.superblock)) }
}

/// Learns the root from the open that user space makes for this purpose.
#[inline(always)]
fn learn(_ctx: &ProbeContext, root: *mut Handshake, mask: u32, data: u64, data_type: u32) {
    // SAFETY: the map's memory lives as long as the program; user space changes it only while
    // nobody is armed.
    let handshake = unsafe { &mut *root };
    if handshake.armed == 0 || mask & IS_DIRECTORY == 0 || data_type != offset!(data_path) {
        return;
    }
    let Ok(name) = bpf_get_current_comm() else { return };
    let mut index = 0;
    while index < 16 {
        if name[index] != handshake.name[index] {
            return;
        }
        index += 1;
    }
    let dentry: u64 = kernel::read(data, offset!(path_dentry));
    handshake.superblock = kernel::dentry_superblock(dentry);
    handshake.inode = kernel::inode_number(kernel::dentry_inode(dentry));
    handshake.dentry = dentry;
}

#[inline(always)]
fn dentry_of(data: u64, data_type: u32) -> u64 {
    if data_type == offset!(data_dentry) {
        data
    } else if data_type == offset!(data_path) {
        kernel::read(data, offset!(path_dentry))
    } else {
        0
    }
}

#[inline(always)]
fn inode_of(data: u64, data_type: u32) -> u64 {
    if data_type == offset!(data_inode) { data } else { kernel::dentry_inode(dentry_of(data, data_type)) }
}

/// Begins a record.
#[inline(always)]
fn begin(kind: u8, inode: u64) -> Option<*mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    let mode = kernel::inode_mode(inode) & TYPE_BITS;
    let mut flags = 0;
    if mode == TYPE_REGULAR {
        flags |= flag::REGULAR;
    }
    if mode == TYPE_DIRECTORY {
        flags |= flag::DIRECTORY;
    }
    if mode != TYPE_DIRECTORY && kernel::inode_links(inode) > 1 {
        flags |= flag::SEVERAL_NAMES;
    }
    let head = Head {
        // SAFETY: the helper only reads the clock.
        time: unsafe { bpf_ktime_get_ns() },
        inode: kernel::inode_number(inode),
        tgid: (bpf_get_current_pid_tgid() >> 32) as u32,
        device: kernel::superblock_device(kernel::inode_superblock(inode)),
        comm: bpf_get_current_comm().unwrap_or_default(),
        first: 0,
        second: 0,
        kind,
        flags,
        reserved: 0,
    };
    // SAFETY: the scratch is this processor's own.
    unsafe {
        (*scratch).head = head;
        core::ptr::write_volatile(&raw mut (*scratch).used, 0);
    }
    Some(scratch)
}

/// Tells of a path that is too deep, or that a rename has taken away while it was walked.
#[inline(always)]
fn unplaced(scratch: *mut Scratch) -> bool {
    // SAFETY: the scratch is this processor's own.
    unsafe {
        (*scratch).head.kind = kind::TOO_DEEP;
        (*scratch).head.first = 0;
        (*scratch).head.second = 0;
        core::ptr::write_volatile(&raw mut (*scratch).used, 0);
    }
    emit(scratch)
}

/// Tells of the file or directory that `dentry` names; whether a record was passed on.
#[inline(always)]
fn entry(kind: u8, dentry: u64, root: u64, superblock: u64) -> bool {
    if kernel::dentry_superblock(dentry) != superblock {
        return false;
    }
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return false };
    let place = walk::place(scratch, dentry, root);
    if place == Place::Outside {
        return false;
    }
    let Some(scratch) = begin(kind, kernel::dentry_inode(dentry)) else { return false };
    if place == Place::TooDeep || !walk::names(scratch, dentry, root) {
        return unplaced(scratch);
    }
    // SAFETY: the scratch is this processor's own.
    unsafe { (*scratch).head.first = (*scratch).used as u16 };
    emit(scratch)
}

/// Tells of a name in a directory.
#[inline(always)]
fn named(kind: u8, directory: u64, name: u64, inode: u64, root: u64) {
    let dentry = kernel::directory_dentry(directory);
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    let place = walk::place(scratch, dentry, root);
    if dentry == 0 || place == Place::Outside {
        return;
    }
    let Some(scratch) = begin(kind, inode) else { return };
    let leaf: u64 = kernel::read(name, offset!(name_bytes));
    if place == Place::TooDeep || !walk::name(scratch, leaf) || !walk::names(scratch, dentry, root) {
        unplaced(scratch);
        return;
    }
    // SAFETY: the scratch is this processor's own.
    unsafe { (*scratch).head.first = (*scratch).used as u16 };
    emit(scratch);
}

/// Tells of a rename: `directory` and `name` are the old ones, `data` has the new.
#[inline(always)]
fn renamed(directory: u64, name: u64, data: u64, data_type: u32, root: u64) {
    let moved = if data_type == offset!(data_rename) && offset!(data_rename) != Settings::NONE {
        kernel::read(data, offset!(rename_moved))
    } else {
        dentry_of(data, data_type)
    };
    let old = kernel::directory_dentry(directory);
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    let from = walk::place(scratch, old, root);
    let to = walk::place(scratch, moved, root);
    if from == Place::Outside && to == Place::Outside {
        return;
    }
    forget_write(moved);
    let Some(scratch) = begin(kind::RENAMED, kernel::dentry_inode(moved)) else { return };
    if from == Place::TooDeep || to == Place::TooDeep {
        unplaced(scratch);
        return;
    }
    if from == Place::Inside {
        let leaf: u64 = kernel::read(name, offset!(name_bytes));
        if !walk::name(scratch, leaf) || !walk::names(scratch, old, root) {
            unplaced(scratch);
            return;
        }
    }
    // SAFETY: the scratch is this processor's own, here and below.
    let first = unsafe { core::ptr::read_volatile(&raw const (*scratch).used) };
    if to == Place::Inside && !walk::names(scratch, moved, root) {
        unplaced(scratch);
        return;
    }
    unsafe {
        let used = core::ptr::read_volatile(&raw const (*scratch).used);
        (*scratch).head.first = first as u16;
        (*scratch).head.second = (used - first) as u16;
        if from == Place::Outside {
            (*scratch).head.flags |= flag::FROM_OUTSIDE;
        }
        if to == Place::Outside {
            (*scratch).head.flags |= flag::TO_OUTSIDE;
        }
    }
    emit(scratch);
}

#[inline(always)]
fn write_key(dentry: u64) -> (WriteKey, u64) {
    let inode = kernel::dentry_inode(dentry);
    let generation = u64::from(kernel::inode_generation(inode));
    (WriteKey { dentry, inode: kernel::inode_number(inode), generation }, inode)
}

#[inline(always)]
fn forget_write(dentry: u64) {
    let (key, _) = write_key(dentry);
    // It may not be there.
    let _absent = WRITES.remove(&key);
}

/// Tells of a write or of a close after writing, unless one was told in this epoch: user space
/// has not looked since.
#[inline(always)]
fn content(kind: u8, dentry: u64, root: u64, superblock: u64) {
    if kernel::dentry_superblock(dentry) != superblock {
        return;
    }
    let Some(epochs) = EPOCHS.get_ptr(0) else { return };
    // Before the record: if the epoch moves on meanwhile, the next event is told again.
    // SAFETY: the map's memory lives as long as the program; user space writes whole words.
    let (writes, closes) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*epochs).writes),
            core::ptr::read_volatile(&raw const (*epochs).closes),
        )
    };
    let (key, inode) = write_key(dentry);
    let mut told = match WRITES.get_ptr(&key) {
        // SAFETY: the kernel keeps the entry's memory until the program ends.
        Some(told) => unsafe { *told },
        None => Epochs { writes: 0, closes: 0 },
    };
    let (last, current) = if kind == kind::WRITING { (told.writes, writes) } else { (told.closes, closes) };
    // Of several names each has to be told by its own writes.
    if last == current && kernel::inode_links(inode) == 1 {
        return;
    }
    if entry(kind, dentry, root, superblock) {
        if kind == kind::WRITING {
            told.writes = writes;
        } else {
            told.closes = closes;
        }
        // When it does not fit, the next event is simply told too.
        let _full = WRITES.insert(&key, told, 0);
    }
}
