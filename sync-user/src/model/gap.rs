//! Names a place that we cannot vouch for.

use std::fmt;

use super::{Stamp, TreePath};

/// A subtree in which changes may have gone unseen; it is rescanned (I7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The top of the place, the root when nothing narrower is known.
    pub place: TreePath,
    pub reason: Reason,
    /// How many events were lost, where the kernel counts them; 0 where it does not.
    pub lost: u64,
    pub seen: Stamp,
}

/// Why a [`Gap`] arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The eBPF ring buffer was full.
    RingFull,
    /// The kernel skipped one of our eBPF programs (`recursion_misses`).
    ProgramSkipped,
    /// The fanotify queue of the kernel was full.
    KernelQueueFull,
    /// Our own queue between capture and batcher was full.
    QueueFull,
    /// A target's backlog grew past its bound and was replaced by its common place.
    BacklogFull,
    /// A path was deeper, or longer, than the walk in the kernel goes.
    PathTooDeep,
    /// An event could not be resolved to a path.
    Unresolved,
    /// The table of mounts changed below the root.
    MountsChanged,
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::RingFull => "the eBPF ring buffer was full",
            Self::ProgramSkipped => "the kernel skipped an eBPF program",
            Self::KernelQueueFull => "the kernel's fanotify queue was full",
            Self::QueueFull => "the queue to the batcher was full",
            Self::BacklogFull => "a target's backlog reached its bound",
            Self::PathTooDeep => "a path was deeper than the kernel-side walk",
            Self::Unresolved => "an event had no path",
            Self::MountsChanged => "mounts changed below the root",
        })
    }
}
