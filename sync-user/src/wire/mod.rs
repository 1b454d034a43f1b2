//! Turns messages into bytes and back: pure, with no sockets and no files.
//!
//! A connection begins with the receiver's [`PREAMBLE`], which the source looks for behind
//! whatever a login shell printed; then each side sends its `Hello`, then frames flow both ways.

mod arrival;
mod codec;
#[cfg(feature = "source")]
mod deflate;
mod examination;
mod inflate;
mod limits;
mod message;

pub use arrival::{Arrival, Arrived, Holding};
#[cfg(feature = "source")]
pub use codec::Encoder;
pub use codec::{Decoder, FrameError, encode};
pub use examination::{Answer, Examined, Question, Stretch};
pub use limits::{
    CONTENT_BYTES_MAX, COPY_BYTES_MAX, EXAMINED_MAX, FRAME_BYTES_MAX, HOLE_BYTES_MAX, INLINE_BYTES_MAX,
    LANES_MAX, NAME_BYTES_MAX, NAMED_MAX, NOISE_BYTES_MAX, OPEN_FILES_MAX, QUESTIONS_MAX,
    UNPUBLISHED_BYTES_MAX, UNPUBLISHED_MAX, VERSION,
};
pub use message::{
    Attributes, Body, Claimed, Lane, Listed, Piece, ReceiverHello, SourceHello, Step, ToReceiver, ToSource,
    Unreadable,
};

/// The first bytes that a receiver writes. The NULs keep it apart from anything a shell prints.
pub const PREAMBLE: &[u8] = b"\0ksyncd-receiver\0";
