//! The programs: each takes the arguments of one kernel function, and passes them on.
//!
//! The functions are those of the kernel's own notification layer. They are called after an
//! operation has succeeded, for names under their directory's lock. Each comes in two forms:
//! `fentry` costs less, but a kernel that may preempt the program skips events meanwhile; then a
//! `kprobe` is what keeps every event.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::bpf_get_func_arg;
use aya_ebpf::macros::{fentry, kprobe};
use aya_ebpf::programs::{FEntryContext, ProbeContext};
use sync_ebpf::{Handshake, kind};

use crate::arguments::{Event, file_of, mask};
use crate::kernel::{self, Inode, Typed, Untyped};
use crate::root::{learn, root};
use crate::{content, names, outside};

/// Where a program finds the arguments of the function that it is attached to.
trait Arguments {
    type Inode: Inode;

    /// The argument `number`, which is an inode.
    fn inode(&self, number: u32) -> Self::Inode;

    /// The argument `number`, from 0; 0 where it cannot be had.
    fn argument(&self, number: u32) -> u64;

    /// The same for arguments that are `void *`.
    fn untyped(&self, number: u32) -> u64 {
        self.argument(number)
    }
}

impl Arguments for ProbeContext {
    type Inode = Untyped;

    #[inline(always)]
    fn inode(&self, number: u32) -> Untyped {
        Untyped(self.argument(number))
    }

    #[inline(always)]
    fn argument(&self, number: u32) -> u64 {
        self.arg(number as usize).unwrap_or(0)
    }
}

impl Arguments for FEntryContext {
    type Inode = Typed;

    #[inline(always)]
    fn inode(&self, number: u32) -> Typed {
        Typed(self.argument(number) as *const u8)
    }

    #[inline(always)]
    fn argument(&self, number: u32) -> u64 {
        // SAFETY: the context is the arguments, a word each.
        unsafe { *self.as_ptr().cast::<u64>().add(number as usize) }
    }

    #[inline(always)]
    fn untyped(&self, number: u32) -> u64 {
        let mut value = 0;
        // SAFETY: the helper checks the number, and writes one word. The verifier refuses to load
        // what has no type.
        unsafe { bpf_get_func_arg(self.as_ptr(), number, &raw mut value) };
        value
    }
}

#[kprobe]
pub(crate) fn fsnotify_kprobe(ctx: ProbeContext) -> u32 {
    fsnotify(&ctx)
}

#[fentry(function = "fsnotify")]
pub(crate) fn fsnotify_fentry(ctx: FEntryContext) -> u32 {
    fsnotify(&ctx)
}

#[kprobe]
pub(crate) fn fsnotify_parent_kprobe(ctx: ProbeContext) -> u32 {
    fsnotify_parent(&ctx)
}

#[fentry(function = "__fsnotify_parent")]
pub(crate) fn fsnotify_parent_fentry(ctx: FEntryContext) -> u32 {
    fsnotify_parent(&ctx)
}

#[kprobe]
pub(crate) fn file_update_time_kprobe(ctx: ProbeContext) -> u32 {
    file_update_time(&ctx)
}

#[fentry(function = "file_update_time")]
pub(crate) fn file_update_time_fentry(ctx: FEntryContext) -> u32 {
    file_update_time(&ctx)
}

/// `fsnotify(mask, data, data_type, dir, file_name, inode, cookie)`: everything that somebody
/// asked for on this file system, and all names.
#[inline(always)]
fn fsnotify(ctx: &impl Arguments) -> u32 {
    let mask = ctx.argument(0) as u32;
    if mask & (mask::CONTENT | mask::NAMES | mask::OPEN) == 0 {
        return 0;
    }
    if mask & mask::OPEN != 0 {
        learn(&event(ctx, mask));
        return 0;
    }
    let Some(root) = root() else { return 0 };
    // Most of what happens elsewhere ends here.
    if mask & mask::CONTENT != 0 {
        let inode = ctx.inode(5);
        let is_directory = mask & mask::IS_DIRECTORY != 0;
        if inode.superblock() == root.superblock && !outside::is_known(inode, is_directory) {
            content(mask, file_of(&event(ctx, mask)), inode, root);
        }
        return 0;
    }
    if ctx.inode(3).superblock() != root.superblock {
        return 0;
    }
    let event = event(ctx, mask);
    if event.has(mask::RENAME) {
        names::renamed(&event, root);
    } else if event.has(mask::CREATE) {
        names::created(&event, root);
    } else {
        names::removed(&event, root);
    }
    0
}

#[inline(always)]
fn event<A: Arguments>(ctx: &A, mask: u32) -> Event<A::Inode> {
    Event {
        mask,
        data: ctx.untyped(1),
        data_type: ctx.argument(2) as u32,
        directory: ctx.inode(3),
        name: ctx.argument(4),
        inode: ctx.inode(5),
    }
}

/// `__fsnotify_parent(dentry, mask, data, data_type)`: what happens to files that have a name.
#[inline(always)]
fn fsnotify_parent(ctx: &impl Arguments) -> u32 {
    let mask = ctx.argument(1) as u32;
    if mask & mask::CONTENT == 0 {
        return 0;
    }
    if let Some(root) = root() {
        let dentry = ctx.argument(0);
        if kernel::dentry_superblock(dentry) == root.superblock {
            content(mask, dentry, kernel::dentry_inode(dentry), root);
        }
    }
    0
}

/// `file_update_time(file)`: the first store through a memory map to each clean page. The map of a
/// file in an overlay is one of the file below it.
#[inline(always)]
fn file_update_time(ctx: &impl Arguments) -> u32 {
    if let Some(root) = root() {
        let file = ctx.argument(0);
        let mut dentry = kernel::file_dentry(file);
        let mut superblock = kernel::dentry_superblock(dentry);
        if superblock != root.superblock {
            dentry = kernel::backed_dentry(file);
            if dentry == 0 {
                return 0;
            }
            superblock = kernel::dentry_superblock(dentry);
        }
        if superblock == root.superblock {
            content(mask::MODIFY, dentry, kernel::dentry_inode(dentry), root);
        }
    }
    0
}

#[inline(always)]
fn content(mask: u32, dentry: u64, inode: impl Inode, root: &Handshake) {
    // A change of the number of links comes without a dentry; names tell of it.
    if dentry == 0 {
        return;
    }
    if mask & mask::IS_DIRECTORY != 0 {
        content::directory(dentry, inode, root);
    } else if mask & mask::CLOSE_WRITE != 0 {
        content::file(kind::WRITTEN, dentry, inode, root);
    } else if mask & mask::MODIFY != 0 {
        content::file(kind::WRITING, dentry, inode, root);
    } else {
        content::file(kind::ATTRIBUTES, dentry, inode, root);
    }
}
