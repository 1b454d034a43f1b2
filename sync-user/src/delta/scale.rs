//! Chooses how finely a content is outlined, so that no outline is ever large.

use std::ops::RangeInclusive;

/// The largest content that is outlined. At this size an outline has 2 MB; 8 MB at the very worst, if
/// all chunks are as short as they may be.
pub const SIZE_MAX: u64 = 64 << 30;

/// The smallest block. A smaller one costs more to remember than it saves: with it, 1,024 writes
/// of 1 KiB to 100 MiB cost 2.5 bytes for each byte written, with 4 KiB blocks they cost 6.
const BLOCK_BYTES_MIN: u64 = 1 << 10;

/// Blocks of one content, with the scale that suits its size.
const BLOCKS_MAX: u64 = 1 << 17;

/// Chunks are this much longer than blocks on average: each costs five times as much to remember.
const BLOCKS_IN_CHUNK: usize = 16;

/// From this scale on chunks grow no more: what is being looked for waits in memory.
const CHUNK_LEVEL_MAX: u8 = 6;

/// How many times larger or smaller (as a power of two) a content may become with the same scale.
const SLACK: u8 = 2;

/// How large blocks and chunks are: twice as large with each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale(u8);

impl Scale {
    const LEVELS: RangeInclusive<u8> = 0..=9;

    /// The scale for a content of this size.
    pub(super) fn of(size: u64) -> Self {
        let suits = |level: &u8| size <= BLOCKS_MAX * Self(*level).block();
        Self(Self::LEVELS.into_iter().find(suits).unwrap_or(*Self::LEVELS.end()))
    }

    /// The scale for a content that is compared with one of the scale `self`: chunks are found
    /// again only by the same scale, so it stays as long as it is not far off.
    pub(super) fn kept_for(self, size: u64) -> Self {
        let own = Self::of(size);
        if own.0.abs_diff(self.0) <= SLACK { self } else { own }
    }

    pub(super) fn from_level(level: u8) -> Option<Self> {
        Self::LEVELS.contains(&level).then_some(Self(level))
    }

    pub(super) fn level(self) -> u8 {
        self.0
    }

    /// Bytes of a block.
    pub(super) fn block(self) -> u64 {
        BLOCK_BYTES_MIN << self.0
    }

    /// How many blocks a content of this size has; the last one may be shorter.
    pub(super) fn blocks(self, size: u64) -> u64 {
        size.div_ceil(self.block())
    }

    /// Bytes of an average chunk.
    pub(super) fn chunk(self) -> usize {
        (BLOCK_BYTES_MIN as usize * BLOCKS_IN_CHUNK) << self.0.min(CHUNK_LEVEL_MAX)
    }

    /// No chunk but the last is shorter.
    pub(super) fn chunk_min(self) -> usize {
        self.chunk() / 4
    }

    pub(super) fn chunk_max(self) -> usize {
        self.chunk() * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_is_bounded_whatever_the_size() {
        for size in [0, 1, 300 << 10, 128 << 20, (128 << 20) + 1, 5 << 30, SIZE_MAX] {
            let scale = Scale::of(size);
            let blocks = scale.blocks(size);
            assert!(blocks <= BLOCKS_MAX, "{size}: {blocks} blocks");
            assert!(size / scale.chunk() as u64 <= 1 << 16, "{size}: chunks of {}", scale.chunk());
        }
        assert_eq!(Scale::of(128 << 20).block(), 1 << 10);
        assert_eq!(Scale::of(SIZE_MAX).level(), *Scale::LEVELS.end());
    }

    #[test]
    fn a_file_that_grows_keeps_its_scale_for_a_while() {
        let scale = Scale::of(100 << 20);
        assert_eq!(scale.kept_for(130 << 20), scale);
        assert_eq!(scale.kept_for(10 << 30), Scale::of(10 << 30));
    }
}
