//! Reads the kernel's structs; no other file does.
//!
//! Pointers are plain numbers here, and a read that fails gives zero: a zero pointer then ends
//! whatever was going on.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use sync_ebpf::DENTRY_WORDS;

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
pub(crate) fn dentry_superblock(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_superblock))
}

/// What a walk has to know of a dentry.
#[derive(Clone, Copy)]
pub(crate) struct Dentry {
    /// Whether a path leads to it. Not so once its name is gone, or before it has one.
    pub(crate) is_hashed: bool,
    /// Itself, where it has none.
    pub(crate) parent: u64,
    /// Where its name stands.
    pub(crate) name: u64,
}

/// Reads all of it at once: the call is what a read costs.
#[inline(always)]
pub(crate) fn dentry(dentry: u64) -> Dentry {
    let [hashed, parent, _hash, name]: [u64; DENTRY_WORDS] = read(dentry, offset!(dentry_words));
    Dentry { is_hashed: hashed != 0, parent, name }
}

/// The first dentry of an inode: of a directory, which has just one, it is that.
#[inline(always)]
pub(crate) fn first_dentry(inode: u64) -> u64 {
    listed(read(inode, offset!(inode_dentries)))
}

/// The next dentry of the same inode.
#[inline(always)]
pub(crate) fn next_dentry(dentry: u64) -> u64 {
    listed(read(dentry, offset!(dentry_alias)))
}

/// The dentry that a list entry stands in.
#[inline(always)]
fn listed(entry: u64) -> u64 {
    if entry == 0 { 0 } else { entry - u64::from(offset!(dentry_alias)) }
}

#[inline(always)]
pub(crate) fn inode_superblock(inode: u64) -> u64 {
    read(inode, offset!(inode_superblock))
}

#[inline(always)]
pub(crate) fn inode_number(inode: u64) -> u64 {
    read(inode, offset!(inode_number))
}

/// Whether it is a regular file.
#[inline(always)]
pub(crate) fn is_regular(inode: u64) -> bool {
    /// `S_IFMT` and `S_IFREG`.
    const TYPE_BITS: u16 = 0o170_000;
    const TYPE_REGULAR: u16 = 0o100_000;
    read::<u16>(inode, offset!(inode_mode)) & TYPE_BITS == TYPE_REGULAR
}

#[inline(always)]
pub(crate) fn inode_links(inode: u64) -> u32 {
    read(inode, offset!(inode_links))
}

#[inline(always)]
pub(crate) fn inode_generation(inode: u64) -> u32 {
    read(inode, offset!(inode_generation))
}
