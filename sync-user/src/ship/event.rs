//! Says what happens on a connection, and why it ends.

use std::time::Duration;

use super::link::LinkError;
use crate::delta::Outline;
use crate::model::{Content, Receipt, TreePath, Version};
use crate::wire::{Answer, Listed, Unreadable};

/// After this time without an answer the connection counts as lost.
pub(super) const SILENCE_MAX: Duration = Duration::from_mins(1);

/// The caller's number for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What happened on the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Content was read and sent; this is what the target will hold, once the step is applied.
    /// `torn` says that the file changed meanwhile, and has to be looked at again. `shipped` is
    /// how many bytes of the content travelled.
    Sent {
        ticket: Ticket,
        version: Version,
        content: Content,
        settled: bool,
        torn: bool,
        shipped: u64,
    },
    /// The target was told to build the file from this content, which it is to have under this path.
    Built {
        ticket: Ticket,
        from: TreePath,
        old: Content,
    },
    /// What to remember of a content that was sent, for when it changes.
    Outlined {
        content: Content,
        outline: Outline,
    },
    /// What the step is about was gone or has changed, or could not be read, when it was wanted:
    /// nothing was sent.
    Unsent {
        ticket: Ticket,
        failure: Option<String>,
    },
    Answered {
        ticket: Ticket,
        receipt: Receipt,
    },
    /// The answer to a question; it keeps to what was asked.
    Examined(Answer),
    Listing(Vec<Listed>),
    ListingEnd(Vec<Unreadable>),
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the receiver ended{}", quoted(complaints))]
    Ended { complaints: String },
    #[error("the receiver was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the receiver does not keep to the protocol: {0}")]
    Protocol(String),
    /// The receiver said that it cannot go on.
    #[error("{what}")]
    Fatal { what: String, remedy: String },
}

fn quoted(complaints: &str) -> String {
    if complaints.is_empty() { String::new() } else { format!(": {complaints}") }
}
