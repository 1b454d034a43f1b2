//! Holds the arguments of the kernel's `fsnotify()`, however a program came by them.

use crate::kernel::{self, Inode, Untyped, offset};

/// `fsnotify(mask, data, data_type, dir, file_name, inode, cookie)`, without the cookie, and
/// pointers as numbers.
#[derive(Clone, Copy)]
pub(crate) struct Event<I> {
    pub(crate) mask: u32,
    pub(crate) data: u64,
    pub(crate) data_type: u32,
    pub(crate) directory: I,
    pub(crate) name: u64,
    pub(crate) inode: I,
}

/// The bits of a mask are those of inotify, and part of the kernel's interface.
pub(crate) mod mask {
    pub(crate) const MODIFY: u32 = 0x2;
    pub(crate) const ATTRIB: u32 = 0x4;
    pub(crate) const CLOSE_WRITE: u32 = 0x8;
    pub(crate) const OPEN: u32 = 0x20;
    pub(crate) const CREATE: u32 = 0x100;
    pub(crate) const DELETE: u32 = 0x200;
    pub(crate) const RENAME: u32 = 0x1000_0000;
    pub(crate) const IS_DIRECTORY: u32 = 0x4000_0000;

    /// What happens to what a name leads to.
    pub(crate) const CONTENT: u32 = MODIFY | ATTRIB | CLOSE_WRITE;
    /// What happens to names.
    pub(crate) const NAMES: u32 = CREATE | DELETE | RENAME;
}

impl<I: Inode> Event<I> {
    #[inline(always)]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.mask & bits != 0
    }

    #[inline(always)]
    pub(crate) fn is_directory(&self) -> bool {
        self.has(mask::IS_DIRECTORY)
    }
}

/// The dentry of the file that the event is about; 0 when only its inode is known.
#[inline(always)]
pub(crate) fn file_of<I: Inode>(event: &Event<I>) -> u64 {
    // A file with one name has one dentry, which is quicker found from here.
    if event.data_type != offset!(data_inode) && !event.is_directory() && event.inode.links() == 1 {
        event.inode.first_dentry()
    } else {
        dentry_of(event)
    }
}

/// The dentry that the event is about; 0 when it has only an inode.
#[inline(always)]
pub(crate) fn dentry_of<I: Inode>(event: &Event<I>) -> u64 {
    if event.data_type == offset!(data_dentry) {
        event.data
    } else if event.data_type == offset!(data_path) {
        kernel::read(event.data, offset!(path_dentry))
    } else {
        0
    }
}

/// The inode that a name in [`Event::directory`] stands for, which some kernels do not pass on its
/// own.
#[inline(always)]
pub(crate) fn inode_of<I: Inode>(event: &Event<I>) -> Untyped {
    if event.inode.address() != 0 {
        Untyped(event.inode.address())
    } else if event.data_type == offset!(data_inode) {
        Untyped(event.data)
    } else {
        kernel::dentry_inode(dentry_of(event))
    }
}
