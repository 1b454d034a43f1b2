//! Makes shortened frames long again.

use std::fmt;

use zstd::bulk::Decompressor;

use super::limits::FRAME_BYTES_MAX;

/// The length of what was compressed stands before it.
pub(super) const LENGTH_BYTES: usize = 4;

/// Decompresses payloads of frames.
#[derive(Default)]
pub(super) struct Inflater {
    decompressor: Option<Decompressor<'static>>,
    output: Vec<u8>,
}

impl Inflater {
    /// What the source has shortened; `None` if it is anything else, or longer than a frame.
    pub(super) fn restore(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        let (length, compressed) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > FRAME_BYTES_MAX {
            return None;
        }
        if self.decompressor.is_none() {
            self.decompressor = Some(Decompressor::new().ok()?);
        }
        self.output.resize(length, 0);
        let count =
            self.decompressor.as_mut()?.decompress_to_buffer(compressed, self.output.as_mut_slice()).ok()?;
        (count == length).then_some(self.output.as_slice())
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Inflater").finish_non_exhaustive()
    }
}
