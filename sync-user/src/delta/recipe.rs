//! Compares new content with the outline of an old one, and says what of it is old.

use std::collections::{HashMap, VecDeque};

use super::outline::{Chunk, Outline, Outliner, block};

/// What is looked for waits until it has this many times the longest chunk: what comes before the
/// next chunk that was found says how far it moved.
const RUN_CHUNKS: usize = 4;

/// A part of new content, in the order in which it is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    New(Vec<u8>),
    /// So many bytes of the old content, from this place on.
    Old {
        from: u64,
        length: u64,
    },
}

/// Makes parts of a content that comes in pieces. What waits in it is bounded by a few chunks.
#[derive(Debug)]
pub struct Recipe {
    outliner: Outliner,
    search: Search,
}

impl Recipe {
    /// For new content of about this size, by an old one. No part is longer than the two limits:
    /// one for new bytes, one for old ones.
    pub fn new(old: Outline, size: u64, limits: (usize, u64)) -> Self {
        let outliner = Outliner::with_scale(old.scale.kept_for(size));
        Self { outliner, search: Search::new(old, limits) }
    }

    /// Takes more content.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { outliner, search } = self;
        outliner.push_each(bytes, |chunk, bytes| search.chunk(chunk, bytes));
    }

    /// The next part that is known; `None` until more has come.
    pub fn next_part(&mut self) -> Option<Part> {
        // What follows may make the last one longer.
        if self.search.parts.len() > 1 { self.search.parts.pop_front() } else { None }
    }

    /// The parts that are left, and the outline of the new content.
    pub fn finish(self) -> (VecDeque<Part>, Outline) {
        let Self { outliner, mut search } = self;
        let outline = outliner.finish_each(|chunk, bytes| search.chunk(chunk, bytes));
        search.settle(None);
        (search.parts, outline)
    }
}

#[derive(Debug)]
struct Search {
    old: Outline,
    /// Where each chunk of the old content begins.
    starts: Vec<u64>,
    by_hash: HashMap<[u8; 16], usize>,
    /// How far the last piece that was found has moved, towards the end.
    shift: i64,
    /// Where the run begins, in the new content.
    at: u64,
    /// What stands before the run, as far as a block could reach into it, and then the run: chunks
    /// in a row that were not found.
    run: Vec<u8>,
    /// Bytes before the run.
    lead: usize,
    run_max: usize,
    new_max: usize,
    old_max: u64,
    parts: VecDeque<Part>,
}

impl Search {
    fn new(old: Outline, (new_max, old_max): (usize, u64)) -> Self {
        let mut starts = Vec::with_capacity(old.chunks.len());
        let mut by_hash = HashMap::with_capacity(old.chunks.len());
        let mut start = 0;
        for (index, chunk) in old.chunks.iter().enumerate() {
            starts.push(start);
            start += u64::from(chunk.length);
            by_hash.entry(chunk.hash).or_insert(index);
        }
        let run_max = RUN_CHUNKS * old.scale.chunk_max();
        let (run, parts) = (Vec::new(), VecDeque::new());
        Self { old, starts, by_hash, shift: 0, at: 0, run, lead: 0, run_max, new_max, old_max, parts }
    }

    fn chunk(&mut self, chunk: Chunk, bytes: &[u8]) {
        let Some(from) = self.find(chunk) else {
            self.run.extend_from_slice(bytes);
            if self.run.len() - self.lead >= self.run_max {
                self.settle(None);
            }
            return;
        };
        let shift = self.end().cast_signed() - from.cast_signed();
        self.settle(Some((shift, bytes)));
        self.shift = shift;
        self.add_old(from, bytes.len() as u64);
        self.at += bytes.len() as u64;
        self.follow(bytes);
    }

    /// Where the run ends, in the new content.
    fn end(&self) -> u64 {
        self.at + (self.run.len() - self.lead) as u64
    }

    /// Begins a run behind `bytes`.
    fn follow(&mut self, bytes: &[u8]) {
        let reach = (self.old.scale.block() as usize - 1).min(bytes.len());
        self.run.clear();
        self.run.extend_from_slice(&bytes[bytes.len() - reach..]);
        self.lead = reach;
    }

    /// Where the old content has a chunk like this: where it would be if it had moved as its
    /// neighbour did, or else anywhere.
    fn find(&self, chunk: Chunk) -> Option<u64> {
        let expected = self.end().checked_add_signed(-self.shift);
        let neighbour = expected.and_then(|start| self.starts.binary_search(&start).ok());
        let mut candidates = neighbour.into_iter().chain(self.by_hash.get(&chunk.hash).copied());
        candidates.find(|index| self.old.chunks[*index] == chunk).map(|index| self.starts[index])
    }

    /// Looks for blocks in the run, as far as they have moved like what was found before it, or like
    /// what was found `after` it; the rest is new.
    fn settle(&mut self, after: Option<(i64, &[u8])>) {
        let (begin, end) = (self.at, self.end());
        if begin == end {
            return;
        }
        let mut bytes = std::mem::take(&mut self.run);
        let (first, mut settled) = (begin - self.lead as u64, begin);
        if let Some((_, behind)) = after {
            let reach = self.old.scale.block() as usize - 1;
            bytes.extend_from_slice(&behind[..reach.min(behind.len())]);
        }
        let last = first + bytes.len() as u64;
        let of = |from: u64, to: u64| &bytes[(from - first) as usize..(to - first) as usize];
        let shift_after = after.map(|(shift, _)| shift).filter(|shift| *shift != self.shift);
        let shifts = [Some(self.shift), shift_after];
        let step = self.old.scale.block();
        let seekers_at = |place| shifts.map(|shift| Seeker::at(place, shift?, step));
        let mut seekers = seekers_at(first);
        loop {
            let left = seekers.iter_mut().flatten().filter(|seeker| {
                seeker.place < end && seeker.end(&self.old).is_some_and(|behind| behind <= last)
            });
            let Some(seeker) = left.min_by_key(|seeker| seeker.place) else { break };
            let Seeker { shift, block: index, place, .. } = *seeker;
            let behind = place + self.old.block_length(index);
            // What was found beside the run is settled already.
            let (from, to) = (place.max(settled), behind.min(end));
            if from < to && block(of(place, behind)) == self.old.blocks[index] {
                self.add_new(of(settled, from));
                self.add_old(from.wrapping_add_signed(-shift), to - from);
                self.shift = shift;
                settled = to;
                seekers = seekers_at(settled);
            } else {
                seeker.advance();
            }
        }
        self.add_new(of(settled, end));
        self.at = end;
        self.follow(of(first, end));
    }

    fn add_new(&mut self, mut bytes: &[u8]) {
        if let Some(Part::New(last)) = self.parts.back_mut() {
            let (more, rest) = bytes.split_at(bytes.len().min(self.new_max - last.len()));
            last.extend_from_slice(more);
            bytes = rest;
        }
        self.parts.extend(bytes.chunks(self.new_max).map(|bytes| Part::New(bytes.to_vec())));
    }

    fn add_old(&mut self, from: u64, length: u64) {
        let (mut from, mut left) = (from, length);
        if let Some(Part::Old { from: before, length }) = self.parts.back_mut()
            && *before + *length == from
        {
            let more = left.min(self.old_max - *length);
            *length += more;
            from += more;
            left -= more;
        }
        while left > 0 {
            let length = left.min(self.old_max);
            self.parts.push_back(Part::Old { from, length });
            from += length;
            left -= length;
        }
    }
}

/// The next block of the old content that would be in the new one, had it moved by `shift`.
#[derive(Debug, Clone, Copy)]
struct Seeker {
    shift: i64,
    step: u64,
    block: usize,
    /// Where that block would begin.
    place: u64,
}

impl Seeker {
    /// The first at `from` or behind it; `None` if that is no place.
    fn at(from: u64, shift: i64, step: u64) -> Option<Self> {
        let old = u64::try_from(i128::from(from) - i128::from(shift)).unwrap_or(0);
        let block = old.div_ceil(step);
        let place = block.checked_mul(step)?.checked_add_signed(shift)?;
        Some(Self { shift, step, block: block as usize, place })
    }

    /// Where that block would end; `None` behind the last one.
    fn end(&self, old: &Outline) -> Option<u64> {
        (self.block < old.blocks.len()).then(|| self.place + old.block_length(self.block))
    }

    fn advance(&mut self) {
        self.block += 1;
        self.place += self.step;
    }
}
