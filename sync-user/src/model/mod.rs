//! Defines the words that the stages share: plain data, with no files, clocks or threads.
//!
//! The kernel emits an event; capture turns it into a [`Change`]; changes gather into a
//! [`Batch`]; a batch becomes a [`Plan`] of [`Step`]s; the receiver answers each step with a
//! [`Receipt`]. What could not be seen is a [`Gap`]; what went wrong for one path is a
//! [`Problem`], and the rest goes on.

mod batch;
mod change;
mod compression;
mod durability;
mod entry;
mod expectation;
mod gap;
mod owner;
mod path;
mod plan;
mod preserve;
mod problem;
mod receipt;
mod sight;
mod stamp;
mod xattr;

pub use batch::{Batch, Depth, Look, Move};
pub use change::{Captured, Change, Kind, Origin};
pub use compression::Compression;
pub use durability::Durability;
pub use entry::{Content, Entry, FileKind, Inode, Mode, OldFile, Time, Version};
pub use expectation::{Expected, Found, Met, There};
pub use gap::{Gap, Reason};
pub use owner::{Named, Owner};
pub use path::{PathError, TreePath};
pub use plan::Step;
pub use preserve::Preserve;
pub use problem::Problem;
pub use receipt::{Aspect, Lack, Outcome, Receipt, Refusal, Sequence};
pub use sight::Sight;
pub use stamp::{Stamp, Stamps};
pub use xattr::{Xattr, XattrHash};
