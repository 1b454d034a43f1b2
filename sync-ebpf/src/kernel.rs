//! Reads the kernel's structs; no other file does.
//!
//! Pointers are plain numbers here, and a read that fails gives zero: a zero pointer then ends
//! whatever was going on.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// A field's place. Read past the compiler, which would take the zeros that it sees for final.
macro_rules! offset {
    ($field:ident) => {
        // SAFETY: a static that is only ever read.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::SETTINGS.$field) }
    };
}
pub(crate) use offset;

/// Reads a `T` at `offset` behind `base`.
#[inline(always)]
pub(crate) fn read<T: Copy + Default>(base: u64, offset: u32) -> T {
    let at = (base + u64::from(offset)) as *const T;
    // SAFETY: the helper checks the address, and fails where it cannot be read.
    unsafe { bpf_probe_read_kernel(at) }.unwrap_or_default()
}

#[inline(always)]
pub(crate) fn dentry_inode(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_inode))
}

#[inline(always)]
pub(crate) fn dentry_parent(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_parent))
}

#[inline(always)]
pub(crate) fn dentry_superblock(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_superblock))
}

#[inline(always)]
pub(crate) fn dentry_name(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_name))
}

/// The dentry of a directory, of which it has just one.
#[inline(always)]
pub(crate) fn directory_dentry(inode: u64) -> u64 {
    let first: u64 = read(inode, offset!(inode_dentries));
    if first == 0 { 0 } else { first - u64::from(offset!(dentry_alias)) }
}

#[inline(always)]
pub(crate) fn inode_superblock(inode: u64) -> u64 {
    read(inode, offset!(inode_superblock))
}

#[inline(always)]
pub(crate) fn inode_number(inode: u64) -> u64 {
    read(inode, offset!(inode_number))
}

/// Type and permissions.
#[inline(always)]
pub(crate) fn inode_mode(inode: u64) -> u16 {
    read(inode, offset!(inode_mode))
}

#[inline(always)]
pub(crate) fn inode_links(inode: u64) -> u32 {
    read(inode, offset!(inode_links))
}

#[inline(always)]
pub(crate) fn inode_generation(inode: u64) -> u32 {
    read(inode, offset!(inode_generation))
}

#[inline(always)]
pub(crate) fn superblock_device(superblock: u64) -> u32 {
    read(superblock, offset!(superblock_device))
}
