//! Applies steps to the target's tree: inside its root (I5), and each in one atomic act (I2).
//!
//! [`Root`] is the tree with its stage; it applies one step at a time, for one source.
//! [`crate::receiver`] speaks the protocol.

mod apply;
mod arrived;
mod attributes;
mod confine;
mod contest;
mod disk;
mod dress;
mod examine;
mod expect;
mod failure;
mod lane;
mod list;
mod marker;
mod old;
mod owners;
mod place;
mod predecessor;
mod put_file;
mod resident;
mod sandbox;
mod sources;
mod space;
mod stage;
mod trash;
mod two_way;

pub use apply::{Done, Progress, Root};
pub use disk::Disk;
pub use examine::{Examiner, GivenUp, Translation};
pub use failure::{Failure, OpenError};
pub use list::list;
pub use put_file::{Incoming, Whole};
