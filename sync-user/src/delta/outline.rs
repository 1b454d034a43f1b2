//! Remembers of a content what it takes to recognise parts of it later.

use super::cutter::Cutter;
use super::scale::Scale;

/// Of how an outline is written, so that another version's is not misread.
const FORMAT: u8 = 1;

const HASH_BYTES: usize = 16;
const CHUNK_BYTES: usize = HASH_BYTES + 4;
const BLOCK_BYTES: usize = 4;

/// The format, the level of the scale, the size and the number of chunks.
const HEAD_BYTES: usize = 1 + 1 + 8 + 4;

/// Hashes of the chunks and blocks of one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    pub(super) scale: Scale,
    pub(super) size: u64,
    /// In their order; they cover the content.
    pub(super) chunks: Vec<Chunk>,
    /// Each block's hash; they cover the content too. 32 bits do, as a block is compared with one
    /// other or two: even if all of the 131,072 blocks of a file have changed, one is taken for what
    /// it was in one of some 10,000 cases, and then the target notices.
    pub(super) blocks: Vec<u32>,
}

/// A piece of content, by the first half of its blake3 hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) hash: [u8; HASH_BYTES],
    pub(super) length: u32,
}

impl Chunk {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(&blake3::hash(bytes).as_bytes()[..HASH_BYTES]);
        Self { hash, length: bytes.len() as u32 }
    }
}

/// The hash of a block.
pub(super) fn block(bytes: &[u8]) -> u32 {
    xxhash_rust::xxh3::xxh3_64(bytes) as u32
}

impl Outline {
    /// The length of the block with this number.
    pub(super) fn block_length(&self, index: usize) -> u64 {
        let step = self.scale.block();
        step.min(self.size.saturating_sub(index as u64 * step))
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much of a content's beginning and of its end [`Self::resembles`] has to see.
    pub fn sample_bytes(&self) -> usize {
        self.scale.chunk_max().max(self.scale.block() as usize)
    }

    /// Whether a content of the same size that begins and ends like this is probably the same.
    pub fn resembles(&self, beginning: &[u8], end: &[u8]) -> bool {
        let mut first = None;
        let note = |bytes: &[u8]| {
            first.get_or_insert_with(|| Chunk::of(bytes));
        };
        let mut cutter = Cutter::new(self.scale);
        if beginning.len() as u64 == self.size {
            let mut note = note;
            cutter.push(beginning, &mut note);
            cutter.finish(note);
        } else {
            cutter.push(beginning, note);
        }
        let last = (self.size - 1).checked_rem(self.scale.block()).unwrap_or(0) as usize + 1;
        let is_last = |end: &[u8]| self.blocks.last() == Some(&block(end));
        self.size > 0
            && first == self.chunks.first().copied()
            && end.len().checked_sub(last).is_some_and(|at| is_last(&end[at..]))
    }

    /// For a database.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = HEAD_BYTES + self.chunks.len() * CHUNK_BYTES + self.blocks.len() * BLOCK_BYTES;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend([FORMAT, self.scale.level()]);
        bytes.extend(self.size.to_le_bytes());
        bytes.extend((self.chunks.len() as u32).to_le_bytes());
        for Chunk { hash, length } in &self.chunks {
            bytes.extend(hash);
            bytes.extend(length.to_le_bytes());
        }
        bytes.extend(self.blocks.iter().flat_map(|block| block.to_le_bytes()));
        bytes
    }

    /// What [`Self::to_bytes`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&[FORMAT, level], rest) = bytes.split_first_chunk()? else { return None };
        let (size, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (scale, size) = (Scale::from_level(level)?, u64::from_le_bytes(*size));
        let chunks_bytes = (u32::from_le_bytes(*count) as usize).checked_mul(CHUNK_BYTES)?;
        let (chunks, blocks) = rest.split_at_checked(chunks_bytes)?;
        let chunk = |bytes: &[u8]| {
            let (hash, length) = bytes.split_first_chunk()?;
            Some(Chunk { hash: *hash, length: u32::from_le_bytes(length.try_into().ok()?) })
        };
        let chunks: Vec<Chunk> = chunks.chunks_exact(CHUNK_BYTES).map(chunk).collect::<Option<_>>()?;
        let is_whole = chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>() == size
            && blocks.len() as u64 == scale.blocks(size).checked_mul(BLOCK_BYTES as u64)?;
        let block = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?));
        let blocks = blocks.chunks_exact(BLOCK_BYTES).map(block).collect::<Option<_>>()?;
        is_whole.then_some(Self { scale, size, chunks, blocks })
    }
}

/// Makes an outline of a content that comes in pieces.
#[derive(Debug)]
pub struct Outliner {
    cutter: Cutter,
    /// The beginning of a block.
    begun: Vec<u8>,
    outline: Outline,
}

impl Outliner {
    /// For a content that will have about this size.
    pub fn new(size: u64) -> Self {
        Self::with_scale(Scale::of(size))
    }

    pub(super) fn with_scale(scale: Scale) -> Self {
        let outline = Outline { scale, size: 0, chunks: Vec::new(), blocks: Vec::new() };
        Self { cutter: Cutter::new(scale), begun: Vec::new(), outline }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.push_each(bytes, |_, _| ());
    }

    pub fn finish(self) -> Outline {
        self.finish_each(|_, _| ())
    }

    /// Takes more content, and gives each chunk that it completes.
    pub(super) fn push_each(&mut self, bytes: &[u8], mut each: impl FnMut(Chunk, &[u8])) {
        let Self { cutter, begun, outline } = self;
        outline.size += bytes.len() as u64;
        let length = outline.scale.block() as usize;
        let mut rest = bytes;
        if !begun.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(length - begun.len()));
            begun.extend_from_slice(head);
            rest = tail;
            if begun.len() == length {
                outline.blocks.push(block(begun));
                begun.clear();
            }
        }
        let blocks = rest.chunks_exact(length);
        begun.extend_from_slice(blocks.remainder());
        outline.blocks.extend(blocks.map(block));
        cutter.push(bytes, |bytes| each(outline.add(bytes), bytes));
    }

    /// Gives the chunks that are left.
    pub(super) fn finish_each(self, mut each: impl FnMut(Chunk, &[u8])) -> Outline {
        let Self { cutter, begun, mut outline } = self;
        if !begun.is_empty() {
            outline.blocks.push(block(&begun));
        }
        cutter.finish(|bytes| each(outline.add(bytes), bytes));
        outline
    }
}

impl Outline {
    fn add(&mut self, bytes: &[u8]) -> Chunk {
        let chunk = Chunk::of(bytes);
        self.chunks.push(chunk);
        chunk
    }
}
