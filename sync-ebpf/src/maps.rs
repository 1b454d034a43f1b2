//! Holds every map in one place, each with why it has its size.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use sync_ebpf::{
    DEPTH_MAX, EXCLUDED_BYTES_MAX, EXCLUDED_LENGTHS_MAX, EXCLUDED_MAX, Epochs, Handshake, Head,
    NAME_BYTES_MAX, NAMES_BYTES_MAX, Settings,
};

/// Set before loading.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    dentry_words: 0,
    dentry_inode: 0,
    dentry_superblock: 0,
    dentry_alias: 0,
    inode_number: 0,
    inode_superblock: 0,
    inode_mode: 0,
    inode_links: 0,
    inode_generation: 0,
    inode_dentries: 0,
    inodes_are_unique: 0,
    superblock_root: 0,
    file_dentry: 0,
    backing_dentry: 0,
    path_dentry: 0,
    name_bytes: 0,
    rename_moved: 0,
    data_path: 0,
    data_inode: 0,
    data_dentry: 0,
    data_rename: 0,
};

/// The lengths of what is in [`EXCLUDED`], in ascending order up to the first 0. Set before
/// loading, so that the kernel leaves out what is not asked for.
#[unsafe(no_mangle)]
pub(crate) static EXCLUDED_LENGTHS: [u32; EXCLUDED_LENGTHS_MAX] = [0; EXCLUDED_LENGTHS_MAX];

/// Directories below which nothing is told, as they stand at the end of a record's names.
#[map]
pub(crate) static EXCLUDED: HashMap<[u8; EXCLUDED_BYTES_MAX], u8> =
    HashMap::with_max_entries(EXCLUDED_MAX, 0);

/// Records on their way to user space, in one order for all processors. User space sets the
/// size; this is the smallest that a ring may have.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The root.
#[map]
pub(crate) static ROOT: Array<Handshake> = Array::with_max_entries(1, 0);

/// Records that did not fit into the ring, by processor.
#[map]
pub(crate) static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where a record is put together. A program is not interrupted by another of ours on the same
/// processor, so one each is enough.
#[map]
pub(crate) static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Shared with user space as memory (`BPF_F_MMAPABLE`), which alone writes it.
#[map]
pub(crate) static EPOCHS: Array<Epochs> = Array::with_max_entries(1, 1 << 10);

/// The files that this processor has told of lately, each at a place that follows from its
/// dentry. A file that pushes another out costs a repeated record, and nothing more.
#[map]
pub(crate) static TOLD: PerCpuArray<Told> = PerCpuArray::with_max_entries(TOLD_MAX, 0);

/// Where `key` stands in a map of `places`, a power of two: by Fibonacci hashing, whose high bits are
/// the good ones.
#[inline(always)]
pub(crate) fn place_of(key: u64, places: u32) -> u32 {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - places.ilog2())) as u32
}

/// Which move was the last one on the root's file system: each has a value of its own.
#[map]
pub(crate) static LAST_MOVE: Array<u64> = Array::with_max_entries(1, 0);

/// What this processor has found outside of the root lately, each at a place that follows from
/// its inode number. What is pushed out costs another walk, and nothing more.
#[map]
pub(crate) static OUTSIDE: PerCpuArray<Outside> = PerCpuArray::with_max_entries(OUTSIDE_MAX, 0);

/// Files and directories in use at the same time beside the root. A power of two.
pub(crate) const OUTSIDE_MAX: u32 = 4096;

/// A file or directory outside of the root: address, number and generation together tell whether
/// the kernel's memory was used again.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Outside {
    pub(crate) inode: u64,
    pub(crate) number: u64,
    pub(crate) generation: u64,
    /// What [`LAST_MOVE`] was when it was found, never 0, so that nothing is known at first.
    pub(crate) last_move: u64,
}

/// Files that one processor writes at the same time on a busy server. A power of two.
pub(crate) const TOLD_MAX: u32 = 4096;

/// A file by one of its names, and the epochs in which its writes and closes were told last:
/// the dentry tells names apart, inode and generation tell whether the kernel's memory was
/// used again.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub(crate) dentry: u64,
    pub(crate) inode: u64,
    pub(crate) generation: u64,
    /// 1 where it was told by its inode, which stands for all its names.
    pub(crate) by_inode: u64,
    pub(crate) epochs: Epochs,
}

/// A record that grows. The walk keeps its state here and not in registers: the verifier then
/// looks at each round of its loop once, and not at every way to get there.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) head: Head,
    pub(crate) names: [u8; NAMES_BYTES_MAX + NAME_BYTES_MAX],
    /// Bytes of `names` that are used.
    pub(crate) used: u32,
    /// Names in `way`.
    pub(crate) depth: u32,
    /// The dentry that the walk has reached.
    pub(crate) at: u64,
    /// The names from the changed dentry up to the root, whose own is not among them.
    pub(crate) way: [u64; DEPTH_MAX],
    /// The end of the names, to be looked up among what is excluded.
    pub(crate) end: [u8; EXCLUDED_BYTES_MAX],
}
