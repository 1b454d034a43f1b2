//! Puts messages into frames and takes them out: length, checksum, payload.
//!
//! ```text
//!  0        4        8                8+length
//!  │ length │ crc32  │ postcard payload │        little endian; the checksum is of the payload
//! ```
//!
//! The highest bit of the length says that the payload is compressed.

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "source")]
use super::deflate::Deflater;
use super::inflate::Inflater;
use super::limits::FRAME_BYTES_MAX;
#[cfg(feature = "source")]
use crate::model::Compression;

const HEADER_BYTES: usize = 8;

const COMPRESSED: u32 = 1 << 31;

/// Why bytes are not a frame. The connection cannot go on: its end of frames is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame claims {0} bytes, more than the {FRAME_BYTES_MAX} that are allowed")]
    TooLong(usize),
    #[error("a frame's checksum does not match")]
    Checksum,
    #[error("a frame's payload is not a message of protocol version {version}", version = super::VERSION)]
    Payload,
}

/// Appends `message` as one frame to `out`, as it is.
///
/// # Panics
///
/// When the message is longer than [`FRAME_BYTES_MAX`]: the senders keep to the limits.
pub fn encode<M: Serialize>(message: &M, out: &mut Vec<u8>) {
    let start = begin(message, out);
    finish(start, 0, out);
}

/// Puts messages into frames that are compressed. Only the source has reason to: receivers can do
/// without the code.
#[cfg(feature = "source")]
#[derive(Debug)]
pub struct Encoder {
    deflater: Deflater,
}

#[cfg(feature = "source")]
impl Encoder {
    pub fn new(compression: Compression) -> Self {
        Self { deflater: Deflater::new(compression) }
    }

    /// Appends `message` as one frame to `out`.
    ///
    /// # Panics
    ///
    /// When the message is longer than [`FRAME_BYTES_MAX`]: the senders keep to the limits.
    pub fn encode<M: Serialize>(&mut self, message: &M, out: &mut Vec<u8>) {
        let start = begin(message, out);
        let payload = start + HEADER_BYTES;
        let mut mark = 0;
        if let Some(shorter) = self.deflater.shorten(&out[payload..]) {
            out.truncate(payload);
            out.extend_from_slice(shorter);
            mark = COMPRESSED;
        }
        finish(start, mark, out);
    }
}

/// Appends room for a header, and the payload; says where the frame begins.
fn begin<M: Serialize>(message: &M, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    postcard::to_io(message, &mut *out).expect("writing to memory does not fail");
    let length = out.len() - start - HEADER_BYTES;
    assert!(length <= FRAME_BYTES_MAX, "I6: a frame of {length} bytes");
    start
}

/// Writes the header of the frame that begins at `start`.
fn finish(start: usize, mark: u32, out: &mut [u8]) {
    let (header, payload) = out[start..].split_at_mut(HEADER_BYTES);
    header[..4].copy_from_slice(&(payload.len() as u32 | mark).to_le_bytes());
    header[4..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
}

/// Takes messages out of a stream of bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    taken: usize,
    inflater: Inflater,
}

impl Decoder {
    /// Adds bytes that have arrived.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether no part of a message waits.
    pub fn is_empty(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// The next whole message; `None` until more bytes arrive.
    pub fn take<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameError> {
        let waiting = &self.buffer[self.taken..];
        let Some((header, rest)) = waiting.split_at_checked(HEADER_BYTES) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let (is_compressed, length) = (length & COMPRESSED != 0, (length & !COMPRESSED) as usize);
        let checksum = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        if crc32fast::hash(payload) != checksum {
            return Err(FrameError::Checksum);
        }
        let payload =
            if is_compressed { self.inflater.restore(payload).ok_or(FrameError::Payload)? } else { payload };
        let (message, rest) = postcard::take_from_bytes(payload).map_err(|_cause| FrameError::Payload)?;
        if !rest.is_empty() {
            return Err(FrameError::Payload);
        }
        self.taken += HEADER_BYTES + length;
        Ok(Some(message))
    }
}
