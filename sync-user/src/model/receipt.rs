//! Says what the target made of a step.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Found, Met};

/// The number of a step on one connection, counted from 1 without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// The target's answer to one step (I4: it never says more than what is done).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub sequence: Sequence,
    pub outcome: Outcome,
    /// How long the target took to apply the step, on its own clock.
    pub took: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Verified, and visible under its name; but for what the target cannot set (`lacks`).
    Applied { lacks: Vec<Lack>, met: Met },
    /// Not done; what the path named before is untouched. `found` is there where the step expects
    /// something else.
    Refused { refusal: Refusal, detail: String, found: Option<Found> },
}

/// What the target could not set, while the rest of the step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    pub aspect: Aspect,
    /// What was tried, and how it failed.
    pub detail: String,
}

/// What an entry is besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Aspect {
    Owner,
    Group,
    Xattrs,
    Acls,
    Links,
}

impl fmt::Display for Aspect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Xattrs => "extended attributes",
            Self::Acls => "access control lists",
            Self::Links => "hard links",
        })
    }
}

/// Why a step was not done: what the source does next depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// The target's path is of another kind or version than the step expects.
    Unexpected,
    /// Both ends have changed it, and what the target has stays (two-way): it is on its way to the
    /// source.
    Contested,
    /// The directory that the path is in is not there.
    NoParent,
    /// The directory holds entries that the source does not know of: it stays.
    NotEmpty,
    /// The file system cannot make these two one: they are on different ones, or it has no hard
    /// links, or no more for this file.
    Unlinkable,
    /// Content did not arrive as the source hashed it.
    Damaged,
    /// The file that it was to be built from is not what the source believes: the content has to be
    /// sent.
    NoOldFile,
    /// Another file of the batch could not be staged, and nothing of it becomes visible.
    Withheld,
    /// The source took the step back, because the file changed while it was read.
    Withdrawn,
    /// No space, or no quota, or no inodes left.
    Full,
    /// The receiving user may not do this.
    Forbidden,
    /// Any other failure of the file system.
    Failed,
}
