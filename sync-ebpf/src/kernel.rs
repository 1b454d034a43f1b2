//! Reads the kernel's structs; no other file does.
//!
//! Pointers are plain numbers here, and a read that fails gives zero: a zero pointer then ends
//! whatever was going on.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use core::ptr::{read_volatile, write_volatile};
use sync_ebpf::{DENTRY_WORDS, Settings};

use crate::maps::SCRATCH;

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
pub(crate) fn dentry_inode(dentry: u64) -> Untyped {
    Untyped(read(dentry, offset!(dentry_inode)))
}

#[inline(always)]
pub(crate) fn dentry_superblock(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_superblock))
}

/// The name of a file that is open.
#[inline(always)]
pub(crate) fn file_dentry(file: u64) -> u64 {
    read(file, offset!(file_dentry))
}

/// The name in an overlay of a file that is open below it. Of any other file this is whatever
/// lies behind it in memory: its superblock tells, and the flag that the kernel has for it moves
/// from version to version.
#[inline(always)]
pub(crate) fn backed_dentry(file: u64) -> u64 {
    if offset!(backing_dentry) == Settings::NONE { 0 } else { read(file, offset!(backing_dentry)) }
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

/// An inode, and how its fields are read.
pub(crate) trait Inode: Copy {
    fn address(self) -> u64;
    fn field<T: Copy + Default>(self, offset: u32) -> T;

    #[inline(always)]
    fn superblock(self) -> u64 {
        self.field(offset!(inode_superblock))
    }

    #[inline(always)]
    fn number(self) -> u64 {
        self.field(offset!(inode_number))
    }

    #[inline(always)]
    fn generation(self) -> u32 {
        self.field(offset!(inode_generation))
    }

    /// How many names it has.
    #[inline(always)]
    fn links(self) -> u32 {
        self.field(offset!(inode_links))
    }

    #[inline(always)]
    fn is_regular(self) -> bool {
        /// `S_IFMT` and `S_IFREG`.
        const TYPE_BITS: u16 = 0o170_000;
        const TYPE_REGULAR: u16 = 0o100_000;
        self.field::<u16>(offset!(inode_mode)) & TYPE_BITS == TYPE_REGULAR
    }

    /// The first of its dentries: of a directory, which has just one, it is that.
    #[inline(always)]
    fn first_dentry(self) -> u64 {
        listed(self.field(offset!(inode_dentries)))
    }
}

/// An inode that came as an argument with a type: the kernel allows to read it as it stands,
/// which is ten times cheaper than a helper.
#[derive(Clone, Copy)]
pub(crate) struct Typed(pub(crate) *const u8);

impl Inode for Typed {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0 as u64
    }

    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        // SAFETY: the verifier has checked that the field is in the struct; where the pointer leads
        // nowhere, the kernel makes it zero.
        unsafe { read_volatile(self.0.add(offset as usize).cast()) }
    }

    #[inline(always)]
    fn first_dentry(self) -> u64 {
        number(listed(self.field(offset!(inode_dentries))))
    }
}

/// A pointer as a number that the verifier allows to calculate with: one that came out of a map
/// has no type any more.
#[inline(always)]
fn number(pointer: u64) -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: the scratch is this processor's own.
    unsafe {
        write_volatile(&raw mut (*scratch).at, pointer);
        read_volatile(&raw const (*scratch).at)
    }
}

/// An inode at an address that was read somewhere.
#[derive(Clone, Copy)]
pub(crate) struct Untyped(pub(crate) u64);

impl Inode for Untyped {
    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn field<T: Copy + Default>(self, offset: u32) -> T {
        read(self.0, offset)
    }
}
