//! Cuts a stream of bytes where its content says so, whatever pieces it comes in.

use fastcdc::v2020::FastCDC;

use super::scale::Scale;

/// Bytes that wait to be cut; fewer than two of the longest chunks, and one piece.
#[derive(Debug)]
pub(super) struct Cutter {
    scale: Scale,
    waiting: Vec<u8>,
}

impl Cutter {
    pub(super) fn new(scale: Scale) -> Self {
        Self { scale, waiting: Vec::new() }
    }

    /// Takes `bytes`, and gives each chunk that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], each: impl FnMut(&[u8])) {
        self.waiting.extend_from_slice(bytes);
        self.cut(false, each);
    }

    /// Gives the rest: no bytes follow.
    pub(super) fn finish(mut self, each: impl FnMut(&[u8])) {
        self.cut(true, each);
    }

    fn cut(&mut self, is_end: bool, mut each: impl FnMut(&[u8])) {
        let (min, average, max) = (self.scale.chunk_min(), self.scale.chunk(), self.scale.chunk_max());
        let mut at = 0;
        let cutter = FastCDC::new(&self.waiting, min, average, max);
        // Where a chunk ends follows from as many bytes as the longest has.
        let enough = if is_end { 1 } else { max };
        while self.waiting.len() - at >= enough {
            let (_, end) = cutter.cut(at, self.waiting.len() - at);
            each(&self.waiting[at..end]);
            at = end;
        }
        self.waiting.drain(..at);
    }
}
