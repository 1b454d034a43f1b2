//! Defines what the eBPF programs and user space share: the settings that go into the kernel,
//! and the records that come out.
//!
//! Nothing here depends on anything. Every struct has the same layout on both sides, which the
//! assertions at its end hold on to; there is no padding, since the verifier would refuse to
//! pass its bytes on, and no `bool`, which not every byte is.
#![no_std]

/// What the programs have to know of the running kernel: where its structs have their fields,
/// in bytes, as its BTF says. Read-only once the programs are loaded.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settings {
    /// The words of a dentry that the walk reads at once, see [`DENTRY_WORDS`].
    pub dentry_words: u32,
    pub dentry_inode: u32,
    pub dentry_superblock: u32,
    /// The list entry by which an inode finds its dentries (`d_u.d_alias`).
    pub dentry_alias: u32,
    pub inode_number: u32,
    pub inode_superblock: u32,
    pub inode_mode: u32,
    pub inode_links: u32,
    pub inode_generation: u32,
    /// The head of an inode's dentries (`i_dentry.first`).
    pub inode_dentries: u32,
    /// 1 where number and generation never come again for another inode of the file system.
    pub inodes_are_unique: u32,
    /// `s_root`: the dentry at the top.
    pub superblock_root: u32,
    /// `f_path.dentry`.
    pub file_dentry: u32,
    /// `backing_file.user_path.dentry`: the name in an overlay of the file below it that a memory
    /// map is really of. [`Settings::NONE`] where the root is no overlay, or the kernel keeps that
    /// name in the file itself.
    pub backing_dentry: u32,
    pub path_dentry: u32,
    /// `qstr.name`.
    pub name_bytes: u32,
    /// `fsnotify_rename_data.moved`, where the kernel has that struct; else [`Settings::NONE`].
    pub rename_moved: u32,
    /// Values of `enum fsnotify_data_type`.
    pub data_path: u32,
    pub data_inode: u32,
    pub data_dentry: u32,
    /// `FSNOTIFY_EVENT_RENAME`, where the kernel has it; else [`Settings::NONE`].
    pub data_rename: u32,
}

/// What stands side by side in every dentry since Linux 5.10 at the latest: `d_hash.pprev`, which
/// is not 0 as long as a path leads to it, `d_parent`, `d_name`'s hash and `d_name.name`.
pub const DENTRY_WORDS: usize = 4;

impl Settings {
    /// Stands for a field or value that this kernel does not have.
    pub const NONE: u32 = u32::MAX;
}

const _: () = assert!(size_of::<Settings>() == 21 * 4);

/// How many processes can be told apart from all others.
pub const IGNORED_MAX: usize = 8;

/// How user space and the programs agree on the root: the directory that the thread with this
/// name opens while it is armed. The last to be opened counts.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handshake {
    /// The thread's name, as `prctl(PR_SET_NAME)` has set it.
    pub name: [u8; 16],
    /// 1 while the next open counts.
    pub armed: u64,
    /// The root's dentry in the kernel; 0 until it is known.
    pub dentry: u64,
    pub superblock: u64,
    /// The dentry at the top of the file system.
    pub top: u64,
    /// The root's inode number, for user space to check.
    pub inode: u64,
    /// The process that opened it, by the number that it has outside of all containers.
    pub tgid: u32,
    /// Processes whose changes are marked with [`flag::IGNORED`], up to the first 0.
    pub ignored: [u32; IGNORED_MAX],
    pub reserved: u32,
}

const _: () = assert!(size_of::<Handshake>() == 96);

/// What happened. The numbers are those on the wire between kernel and user space.
pub mod kind {
    pub const CREATED: u8 = 1;
    pub const WRITING: u8 = 2;
    pub const WRITTEN: u8 = 3;
    pub const ATTRIBUTES: u8 = 4;
    pub const REMOVED: u8 = 5;
    pub const RENAMED: u8 = 6;
    /// Something happened at a path that the walk could not find: it is too deep, or too long.
    pub const UNPLACED: u8 = 7;
    /// A file changed whose name the kernel does not know: it was opened by handle.
    pub const NAMELESS: u8 = 8;
    /// A file with several names changed by one outside of the root, as [`WRITING`], [`WRITTEN`]
    /// or [`ATTRIBUTES`]: its inode number stands in place of the path. One of the others may be
    /// inside.
    pub const WRITING_OUTSIDE: u8 = 9;
    pub const WRITTEN_OUTSIDE: u8 = 10;
    pub const ATTRIBUTES_OUTSIDE: u8 = 11;
}

/// Facts about a record.
pub mod flag {
    /// Of a rename: it is about a directory.
    pub const DIRECTORY: u8 = 1;
    /// Of what appeared: it is a regular file with one name, which its maker may still be writing.
    pub const UNFINISHED: u8 = 2;
    /// Of a rename: the old name was outside of the root.
    pub const FROM_OUTSIDE: u8 = 4;
    /// Of a rename: the new name is outside of the root.
    pub const TO_OUTSIDE: u8 = 8;
    /// It was made by one of the processes in [`Handshake::ignored`](super::Handshake).
    pub const IGNORED: u8 = 16;
}

/// `TASK_COMM_LEN` of the kernel: the name of a thread, with its NUL.
pub const COMM_BYTES: usize = 16;

/// The beginning of every record. Behind it come the names on the way from the changed path up
/// to the root, each with a final NUL: `file`, `directory`, `directory above`. Of a rename the
/// names of the old path come first, and then those of the new one.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// `bpf_ktime_get_ns`, before the path was walked.
    pub time: u64,
    /// The name of the thread that made the change, with a final NUL.
    pub comm: [u8; COMM_BYTES],
    pub tgid: u32,
    /// The processor that told: each suppresses repeated writes by itself.
    pub processor: u32,
    /// Bytes of the (old) path.
    pub first: u16,
    /// Bytes of a rename's new path.
    pub second: u16,
    /// One of [`kind`].
    pub kind: u8,
    /// Of [`flag`].
    pub flags: u8,
    pub reserved: u16,
}

/// Size of [`Head`] in a record.
pub const HEAD_BYTES: usize = 40;

const _: () = assert!(size_of::<Head>() == HEAD_BYTES);

/// How many directories a path may have. Deeper ones are reported as too deep, and rescanned.
pub const DEPTH_MAX: usize = 64;

/// A name with its NUL.
pub const NAME_BYTES_MAX: usize = 256;

/// All names of a record: two of the longest paths.
pub const NAMES_BYTES_MAX: usize = 8192;

/// The longest excluded directory that the kernel side knows, as it stands at the end of a
/// record's names: `\0cache\0var\0` for everything below `var/cache`.
pub const EXCLUDED_BYTES_MAX: usize = 64;

/// How many lengths excluded directories may have: one look-up is made for each.
pub const EXCLUDED_LENGTHS_MAX: usize = 8;

/// How many excluded directories the kernel side takes.
pub const EXCLUDED_MAX: u32 = 64;

/// The current epochs, which user space moves on in memory that it shares with the programs: a
/// system call would make the kernel skip programs meanwhile.
///
/// A write, or a close after writing, that this processor has told in the current epoch is not
/// told again. User space takes the records out of the ring, then moves the epoch on, and only
/// then looks at the files: whatever was not told happened before the look.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// Of writes to files that are still open. 0 is never current.
    pub writes: u64,
    /// Of closes after writing. 0 is never current.
    pub closes: u64,
}

const _: () = assert!(size_of::<Epochs>() == 16);
