//! Keeps every maximum of the protocol in one place, each with its reason.

/// The protocol's version; both ends of a connection must have the same, since the source
/// brings the receiver along.
pub const VERSION: u16 = 9;

/// A frame's payload. Above `INLINE_BYTES_MAX` plus the longest two paths and as many extended
/// attributes (256 KiB) as an entry may have, and small enough that a hostile length costs no
/// memory.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// A file up to this size travels inside its step: one frame, one receipt.
pub const INLINE_BYTES_MAX: usize = 256 << 10;

/// Content of one frame of a larger file: eight SSH packets, so small frames wait little.
pub const CONTENT_BYTES_MAX: usize = 256 << 10;

/// Files whose content is on its way in pieces. With four lanes at 1 Gbit/s and a round trip of 45 ms
/// some 20 of the smallest of them are; each takes a descriptor of the receiver.
pub const OPEN_FILES_MAX: usize = 32;

/// Lanes besides the connection that steps take.
pub const LANES_MAX: u8 = 15;

/// Steps that wait for the rest of their batch to become visible: as many as `--batch-max-changes` has by
/// default, and then some for directories. Beyond, a batch becomes visible in parts.
pub const UNPUBLISHED_MAX: usize = 16_384;

/// What such steps take without the content of files, which is on the target's disk.
pub const UNPUBLISHED_BYTES_MAX: usize = 64 << 20;

/// A hole in one frame: some 10 ms of hashing zeros, so that nothing else waits long.
pub const HOLE_BYTES_MAX: u64 = 32 << 20;

/// What is copied from an old file at once: some 10 ms of copying and hashing.
pub const COPY_BYTES_MAX: u64 = 8 << 20;

/// What a login shell may print before the preamble.
pub const NOISE_BYTES_MAX: usize = 64 << 10;

/// Users and groups that one connection names. Later ones go by their number, as those do that
/// have no name; and no frame of them is longer than with the longest names.
pub const NAMED_MAX: usize = 65_536;

/// The name of a user or group: `LOGIN_NAME_MAX` (`limits.h`).
pub const NAME_BYTES_MAX: usize = 256;

/// Names that one question asks for, and entries of one answer: under a frame's limit even if every
/// name is as long as can be.
pub const EXAMINED_MAX: usize = 128;

/// Questions of one connection without an answer. Enough that a distant target always has one.
pub const QUESTIONS_MAX: usize = 8;
