//! Defines the words that the stages share: plain data, with no files, clocks or threads.
//!
//! The kernel emits an event; capture turns it into a [`Change`]; changes gather into a
//! [`Batch`]; a batch becomes a [`Plan`] of [`Step`]s; the receiver answers each step with a
//! [`Receipt`]. What could not be seen is a [`Gap`]; what went wrong for one path is a
//! [`Problem`], and the rest goes on.

mod batch;
mod change;
mod entry;
mod gap;
mod path;
mod plan;
mod problem;
mod receipt;
mod stamp;

pub use batch::{Batch, Depth, Look, Move};
pub use change::{Captured, Change, Kind, Origin};
pub use entry::{Content, Entry, FileKind, Inode, Mode, Time, Version};
pub use gap::{Gap, Reason};
pub use path::{PathError, TreePath};
pub use plan::Step;
pub use problem::Problem;
pub use receipt::{Outcome, Receipt, Refusal, Sequence};
pub use stamp::{Stamp, Stamps};
